//! What is made before the crate is compiled: the files of the feature `console`.

#[cfg(feature = "console")]
#[path = "build/console.rs"]
mod console;

fn main() -> std::io::Result<()> {
    #[cfg(feature = "console")]
    console::prepare()?;
    Ok(())
}
