//! The names of channels.

use crate::Error;

/// Checks that a channel can have this name, so that it stands for itself in a URL.
pub(crate) fn check(name: &str) -> Result<(), Error> {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:~@".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    match begins && name.len() <= 255 && name.bytes().all(is_fine) {
        true => Ok(()),
        false => Err(Error::Channel(name.chars().take(300).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_server() {
        for name in ["a", "7", "user:ann@home~1.2_3-4", &"x".repeat(255)] {
            assert!(check(name).is_ok(), "{name}");
        }
        for name in ["", "-a", ".a", "a,b", "a/b", "a?b", "a b", "ä", "..", &"x".repeat(256)] {
            assert!(check(name).is_err(), "{name}");
        }
    }
}
