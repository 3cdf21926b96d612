//! What a transport brings, and what it is brought to.

use super::{
    Failure,
    message::{Gap, Message},
};

/// Something that came.
#[derive(Debug)]
pub(crate) enum News {
    /// The channel can be read like this.
    Open,
    /// Where the channel is, or the reader in it, though there is no message.
    At(String),
    Gap(Gap),
    Message(Message),
}

/// Who takes what comes.
pub(crate) trait Sink {
    /// Takes it, or says that nothing more is wanted.
    fn take(&mut self, news: News) -> Result<(), Failure>;
}
