//! How options are named in what operators and clients read.

use std::fmt;

/// How problems and log lines name an option. The default is the name of its field, `` `max_message` ``.
#[derive(Clone, Copy)]
pub struct OptionNames(fn(&str) -> String);

impl OptionNames {
    /// The name that this function makes of a field's: for a program whose users set options in another way,
    /// such as flags.
    ///
    /// ```
    /// use sockeye_server::{ChannelOptions, OptionNames};
    ///
    /// let flags = OptionNames::by(|field| format!("--{}", field.replace('_', "-")));
    /// let options = ChannelOptions::default().option_names(flags);
    /// ```
    pub fn by(name: fn(&str) -> String) -> Self {
        Self(name)
    }

    /// The option as its users know it.
    pub(crate) fn of(self, field: &str) -> String {
        (self.0)(field)
    }
}

impl Default for OptionNames {
    fn default() -> Self {
        Self(|field| format!("`{field}`"))
    }
}

impl fmt::Debug for OptionNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OptionNames").field(&self.of("option")).finish()
    }
}
