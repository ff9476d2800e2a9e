//! What hosts and components that share a Redis have to agree on: how they wake each other, and which keys are whose.

pub mod wakeups;

/// What `SCAN` takes for all keys that begin so: a pattern, in which some characters mean something else.
#[must_use]
pub fn pattern(begin: &str) -> String {
    let mut pattern = String::with_capacity(begin.len() + 1);
    for character in begin.chars() {
        if matches!(character, '*' | '?' | '[' | ']' | '^' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keys_begin_with_stands_for_itself_in_a_pattern() {
        assert_eq!(pattern(""), "*");
        assert_eq!(pattern("app:"), "app:*");
        assert_eq!(pattern(r"a*b?c[d]e\"), r"a\*b\?c\[d\]e\\*");
        assert_eq!(pattern("a:\0other\0"), "a:\0other\0*");
    }
}
