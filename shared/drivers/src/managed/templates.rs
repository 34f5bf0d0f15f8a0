//! ServerTemplate files in right_st's YAML, scripts with metadata comments.
