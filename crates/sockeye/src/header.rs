//! A header that an application adds to a handshake.

use http::{HeaderName, HeaderValue};

/// The header of this name and value, or what is wrong with it.
pub(crate) fn parse_header<N, V>(name: N, value: V) -> Result<(HeaderName, HeaderValue), String>
where
    N: TryInto<HeaderName, Error: Into<http::Error>>,
    V: TryInto<HeaderValue, Error: Into<http::Error>>,
{
    let name = name.try_into().map_err(|wrong| wrong.into().to_string())?;
    let value = value.try_into().map_err(|wrong| format!("{name}: {}", wrong.into()))?;
    Ok((name, value))
}
