//! The position of several channels that are read together: `<epoch>.<offset>.<offset>…`, an offset for each
//! channel, in the order in which the URL names them. Where the channels have different epochs, as in a
//! cluster, there is one for each: `<epoch>-<epoch>.<offset>.<offset>`.

use std::fmt::{self, Display, Formatter};

use sockeye_hub::{Position, Start};

/// A position in each of several channels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Composite(pub(crate) Vec<Position>);

impl Composite {
    /// The position as it was written, if it is one of that many channels.
    pub(crate) fn parse(text: &str, channels: usize) -> Option<Self> {
        let (epochs, offsets) = text.split_once('.')?;
        let (epochs, offsets): (Vec<_>, Vec<_>) =
            (epochs.split('-').collect(), offsets.split('.').collect());
        if offsets.len() != channels || epochs.len() != 1 && epochs.len() != channels {
            return None;
        }
        let positions = offsets.iter().zip(epochs.iter().cycle());
        let positions = positions.map(|(offset, epoch)| format!("{epoch}.{offset}").parse().ok());
        positions.collect::<Option<_>>().map(Self)
    }

    /// Where each of that many channels is begun to be read: after its own part of a composite position, or
    /// all where `earliest`, `now`, `-50` or `10m` says.
    pub(crate) fn starts(text: &str, channels: usize) -> Option<Vec<Start>> {
        if let Some(Self(positions)) = Self::parse(text, channels) {
            return Some(positions.into_iter().map(Start::After).collect());
        }
        match text.parse().ok()? {
            Start::After(_) => None,
            start => Some(vec![start; channels]),
        }
    }
}

impl Display for Composite {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(positions) = self;
        let Some((first, rest)) = positions.split_first() else { return Ok(()) };
        write!(f, "{}", first.epoch)?;
        if rest.iter().any(|position| position.epoch != first.epoch) {
            rest.iter().try_for_each(|position| write!(f, "-{}", position.epoch))?;
        }
        positions.iter().try_for_each(|position| write!(f, ".{}", position.offset))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn position() -> impl Strategy<Value = Position> {
        ("[a-z1-9][a-z0-9]{3,5}|k3f9", any::<u64>())
            .prop_filter_map("an epoch", |(epoch, offset)| {
                Some(Position { epoch: epoch.parse().ok()?, offset })
            })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(positions in prop::collection::vec(position(), 2..65)) {
            let written = Composite(positions);
            let read = Composite::parse(&written.to_string(), written.0.len());
            prop_assert_eq!(read.as_ref(), Some(&written));
            prop_assert_eq!(Composite::parse(&written.to_string(), written.0.len() + 1), None);
        }

        #[test]
        fn any_text_is_read_or_is_none(text in "\\PC{0,40}|[a-z0-9.-]{0,40}", count in 2..65_usize) {
            if let Some(Composite(positions)) = Composite::parse(&text, count) {
                prop_assert_eq!(positions.len(), count);
            }
        }
    }

    #[test]
    fn one_epoch_is_written_once() {
        let parse = |text| Composite::parse(text, 2).map(|composite| composite.to_string());
        assert_eq!(parse("k3f9.1.2").as_deref(), Some("k3f9.1.2"));
        assert_eq!(parse("k3f9-k3f9.1.2").as_deref(), Some("k3f9.1.2"));
        assert_eq!(parse("k3f9-abcd.1.2").as_deref(), Some("k3f9-abcd.1.2"));
        for wrong in
            ["k3f9.1", "k3f9.1.2.3", "k3f9.1.x", "a-b-c.1.2", "k3f9-.1.2", ".1.2", "k3f9.1.-2"]
        {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(Composite::starts("now", 2), Some(vec![Start::Now; 2]));
        assert_eq!(Composite::starts("k3f9.1", 2), None);
    }
}
