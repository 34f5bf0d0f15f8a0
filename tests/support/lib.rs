//! Scenes for the tests: real servers on loopback addresses of their own, tools and scripts as black boxes.
