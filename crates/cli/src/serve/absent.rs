//! Options of features that this program is built without. Each is still known, so that a user who gives it by a
//! flag, a variable or a file is told which feature is missing; no help shows it.

/// Refuses every value, with the name of the feature and what it does.
pub(crate) fn built_without<T>(
    feature: &'static str,
    does: &'static str,
) -> impl Fn(&str) -> Result<T, String> + Clone {
    move |_| Err(format!("this program is built without the feature `{feature}`, which {does}"))
}
