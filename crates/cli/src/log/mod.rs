//! The log, on stderr: how much of it, and in what form.

mod line;
mod writer;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    panic::{self, PanicHookInfo},
    sync::{Arc, atomic::AtomicU64},
};

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

use self::{
    line::Form,
    writer::{LogGuard, LogWriter},
};
use crate::{
    flags::units::{Size, some_size},
    terminal::output::complain,
};

/// What is logged without --log: what an operator should look at.
const DEFAULT: &str = "warn";

#[derive(Debug, Args)]
#[command(next_help_heading = "Log")]
pub(crate) struct Log {
    /// What is logged on stderr: error, warn, info (the end of each connection), debug (each
    /// request), trace, or directives as in warn,sockeye_server=debug. Without it RUST_LOG counts, or
    /// warn
    #[arg(long, value_name = "LEVEL", env = "SOCKEYE_LOG")]
    log: Option<String>,

    /// How it is logged: as text, or a JSON object in each line
    #[arg(long, value_name = "FORMAT", env = "SOCKEYE_LOG_FORMAT", default_value = "text")]
    log_format: Format,

    /// How much of the log waits while stderr takes nothing; further lines are lost and counted
    #[arg(long, value_name = "SIZE", env = "SOCKEYE_LOG_BUFFER", value_parser = some_size, default_value_t = Self::default().log_buffer)]
    log_buffer: Size,

    /// Counts the lines that are lost.
    #[arg(skip)]
    lost: Arc<AtomicU64>,
}

impl Default for Log {
    fn default() -> Self {
        let lost = Arc::default();
        Self { log: None, log_format: Format::Text, log_buffer: Size(256 << 10), lost }
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    Text,
    Json,
}

/// Changes what is logged.
pub(crate) type SetFilter = Arc<dyn Fn(EnvFilter) -> anyhow::Result<()> + Send + Sync>;

/// The log of the program, until it is dropped at the end.
pub(crate) struct Logging {
    set_filter: SetFilter,
    _guard: LogGuard,
}

impl Logging {
    /// Changes what is logged from then on.
    pub(crate) fn set_filter(&self) -> SetFilter {
        Arc::clone(&self.set_filter)
    }
}

impl Log {
    /// Begins to log, panics too.
    pub(crate) fn begin(&self) -> anyhow::Result<Logging> {
        let filter = self.filter()?;
        // A descriptor of its own: no other writer waits for a lock that is held while stderr takes nothing.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let form = match self.log_format {
            Format::Json => Form::Json,
            Format::Text if stderr.is_terminal() => Form::Coloured,
            Format::Text => Form::Text,
        };
        let (capacity, lost) = (self.log_buffer.in_memory(), Arc::clone(&self.lost));
        let (writer, guard) = LogWriter::start(stderr, form, capacity, lost)?;
        // Errors inside of tracing are printed by `eprintln!`, which may panic; the writer has none.
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(move || writer.clone())
            .log_internal_errors(false);
        let set_filter: SetFilter = match form {
            Form::Json => {
                let log = log.json().flatten_event(true).with_filter_reloading();
                let handle = log.reload_handle();
                log.init();
                Arc::new(move |filter| Ok(handle.reload(filter)?))
            }
            form => {
                let log = log.with_ansi(form == Form::Coloured).with_filter_reloading();
                let handle = log.reload_handle();
                log.init();
                Arc::new(move |filter| Ok(handle.reload(filter)?))
            }
        };
        panic::set_hook(Box::new(log_panic));
        Ok(Logging { set_filter, _guard: guard })
    }

    /// Counts the lines that are lost.
    #[cfg(feature = "prometheus")]
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.lost)
    }

    /// What is to be logged.
    pub(crate) fn filter(&self) -> anyhow::Result<EnvFilter> {
        let parse = |directives: &str| EnvFilter::builder().parse(quieted(directives));
        if let Some(directives) = &self.log {
            // A word that is not a level would be taken for a target, and nothing else be logged.
            let is_level = |word: &str| word.trim().parse::<LevelFilter>().is_ok();
            let mut words = directives.split(',').filter(|word| !word.contains(['=', '[']));
            if let Some(word) = words.find(|word| !is_level(word)) {
                bail!(
                    "--log {directives}: {word:?} is not a level: write error, warn, info, debug, \
                     trace, or TARGET=LEVEL"
                );
            }
            return parse(directives).with_context(|| {
                format!("--log {directives}: write error, warn, info, debug, or trace")
            });
        }
        let directives = env::var("RUST_LOG").ok().filter(|directives| !directives.is_empty());
        let directives = directives.unwrap_or_else(|| DEFAULT.to_owned());
        let builder = EnvFilter::builder().with_default_directive(DEFAULT.parse()?);
        Ok(builder.parse(quieted(&directives)).or_else(|wrong| {
            complain(format_args!("sockeye: RUST_LOG is ignored: {wrong}"));
            parse(DEFAULT)
        })?)
    }
}

/// The directives, with errors alone of the library for HTTP/2 unless they name it: it warns of what any
/// client does, a line each time.
fn quieted(directives: &str) -> String {
    if directives.contains("h2") { directives.to_owned() } else { format!("h2=error,{directives}") }
}

/// A line for a panic: by the log, which does not block and is in the form that was asked for.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let message = panic.payload_as_str().unwrap_or("no message");
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then_some(backtrace);
    tracing::error!(
        target: "sockeye::panic",
        thread = thread.name().unwrap_or("unnamed"),
        at = panic.location().map(tracing::field::display),
        backtrace = backtrace.map(tracing::field::display),
        "panicked: {message}"
    );
}
