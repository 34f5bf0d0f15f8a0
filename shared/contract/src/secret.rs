use zeroize::Zeroizing;

/// A secret: cannot be printed or serialised, and its memory is overwritten when it is dropped.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes it in. A `String` is taken over as it is; of a `&str` the caller keeps a copy.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(Zeroizing::new(text.into()))
    }

    /// The text itself: only for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::os::unix::fs::FileExt;

    use super::*;
    use crate::Command;

    /// A type that has one of these traits fits twice, and what follows does not compile.
    trait Only<Way> {
        fn once() {}
    }
    struct Printed;
    struct Written;
    impl<T: ?Sized> Only<()> for T {}
    impl<T: ?Sized + std::fmt::Display> Only<Printed> for T {}
    impl<T: ?Sized + serde::Serialize> Only<Written> for T {}

    #[test]
    fn a_secret_can_neither_be_printed_nor_serialised() {
        <Secret as Only<_>>::once();
        let secret = Secret::new("hunter2");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "(secret) Some((secret))");
        let command = Command {
            argv: vec!["id".into()],
            env: BTreeMap::from([("PLAIN".into(), "seen".into())]),
            secrets: BTreeMap::from([("PASSWORD".into(), secret)]),
            stdin: b"password=hunter2".to_vec(),
            ..Command::default()
        };
        let shown = format!("{command:?}");
        assert!(shown.contains("PASSWORD") && !shown.contains("hunter2"), "{shown}");
        assert!(!shown.contains(&format!("{:?}", b"hunter2".as_slice())), "{shown}");
    }

    #[test]
    fn the_memory_of_a_dropped_secret_is_overwritten() {
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        // long enough for most of it to be left alone by whoever manages freed memory
        let secret = Secret::new(["hunter2-"; 64].concat());
        let (at, length) = (secret.expose().as_ptr().addr() as u64, secret.expose().len());
        let there = || {
            let mut bytes = vec![0; length];
            memory.read_exact_at(&mut bytes, at).unwrap();
            String::from_utf8_lossy(&bytes).matches("hunter2").count()
        };
        assert_eq!(there(), 64);
        drop(secret);
        assert_eq!(there(), 0);
    }
}
