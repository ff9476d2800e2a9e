//! What the names of keys begin with, so that several applications may share a Redis.

/// The variable `redis_prefix`. Empty: keys are as they are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// Any text.
    #[must_use]
    pub fn new(prefix: String) -> Self {
        Self(prefix)
    }

    /// A key as Redis knows it.
    #[must_use]
    pub fn key(&self, key: &str) -> String {
        format!("{}{key}", self.0)
    }

    /// A key of Redis as it is known here; none for one of others, or one that is no text.
    #[must_use]
    pub fn strip(&self, key: Vec<u8>) -> Option<String> {
        let key = String::from_utf8(key).ok()?;
        key.strip_prefix(&self.0).map(str::to_owned)
    }

    /// What SCAN takes for all keys with this prefix: a pattern, in which some characters mean something else.
    #[must_use]
    pub fn pattern(&self) -> String {
        redis_forms::pattern(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_comes_back_as_it_was() {
        #[track_caller]
        fn check(prefix: &str, key: &str, stored: &str) {
            let prefix = Prefix::new(prefix.to_owned());
            assert_eq!(prefix.key(key), stored);
            assert_eq!(prefix.strip(stored.into()).as_deref(), Some(key));
        }
        check("", "w1/d/a", "w1/d/a");
        check("", "", "");
        check("app:", "a", "app:a");
        check("ä*", "ä*", "ä*ä*");
    }

    #[test]
    fn the_keys_of_others_are_none_of_ours() {
        let prefix = Prefix::new("app:".to_owned());
        assert_eq!(prefix.strip(b"apb:a".into()), None);
        assert_eq!(prefix.strip(b"ap".into()), None);
        assert_eq!(prefix.strip(b"app:\xff".into()), None);
    }

    #[test]
    fn a_prefix_stands_for_itself_in_a_pattern() {
        let pattern = |prefix: &str| Prefix::new(prefix.to_owned()).pattern();
        assert_eq!(pattern(""), "*");
        assert_eq!(pattern("app:"), "app:*");
        assert_eq!(pattern(r"a*b?c[d]e\"), r"a\*b\?c\[d\]e\\*");
    }
}
