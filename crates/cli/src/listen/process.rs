//! `--exec`: a process for each connection, from its start to the end of all that it has started.

use std::{
    env,
    ffi::OsString,
    fmt, io,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use rustix::{
    fs::{Access, access},
    process::{Pid, Signal, kill_process_group},
};
use tokio::{
    process::{Child, Command},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use crate::flags::units::{Switch, Time, deadline, deadline_or_off, number};

/// Variables of ours that a process has, too; all others may be secrets.
const PASSED_ON: [&str; 10] =
    ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR"];

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Processes")]
pub(crate) struct Exec {
    /// Start this program for each connection: what the client sends it reads on its stdin, what it writes
    /// on its stdout the client gets, a line each message; words as a shell has them, in quotes or not
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,

    /// Have a shell run the command (sh -c): with its pipes, variables and wildcards
    #[arg(long, requires = "exec")]
    shell: bool,

    /// Give the processes this variable, with this value or with ours, beside those of CGI and PATH, HOME,
    /// LANG and the like; may be given several times
    #[arg(long, value_name = "NAME[=VALUE]", requires = "exec", value_parser = variable)]
    env: Vec<(OsString, OsString)>,

    /// How many processes there are at most; further clients are refused with 503
    #[arg(long, value_name = "N", requires = "exec", default_value_t = 64)]
    #[arg(value_parser = number::<usize>)]
    max_processes: usize,

    /// How long a process may take nothing of what its client has sent before its connection is closed; or off
    #[arg(long, value_name = "TIME", requires = "exec", default_value = "5m")]
    #[arg(value_parser = deadline_or_off)]
    read_timeout: Switch,

    /// How long a process may take to end after SIGTERM, which it gets a second after its connection has
    /// ended and its stdin with it; then it is killed, with all that it has started
    #[arg(long, value_name = "TIME", requires = "exec", default_value = "5s")]
    #[arg(value_parser = deadline)]
    kill_after: Time,
}

/// `NAME=VALUE`, or the name of a variable of ours.
fn variable(text: &str) -> Result<(OsString, OsString), String> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, value.into()),
        None => {
            let value = env::var_os(text)
                .ok_or_else(|| format!("{text} is not set: write {text}=VALUE"))?;
            (text, value)
        }
    };
    match name.is_empty() {
        true => Err("write a variable as NAME=VALUE, or as NAME".to_owned()),
        false => Ok((name.into(), value)),
    }
}

impl Exec {
    /// Whether each connection has a process.
    pub(super) fn is_some(&self) -> bool {
        self.exec.is_some()
    }

    /// What is started for each connection, if anything is.
    ///
    /// # Errors
    ///
    /// When there is no such program, so that it is said at once and not to the first client.
    pub(super) fn program(&self) -> anyhow::Result<Option<Program>> {
        let Some(command) = &self.exec else { return Ok(None) };
        let words = match self.shell {
            true => vec!["/bin/sh".to_owned(), "-c".to_owned(), command.clone()],
            false => shlex::split(command)
                .with_context(|| format!("--exec {command}: a quote is not closed"))?,
        };
        let Some((program, arguments)) = words.split_first() else {
            bail!("--exec is empty: name a program");
        };
        let path = find(program).with_context(|| format!("--exec {command}"))?;
        Ok(Some(Program {
            path,
            arguments: arguments.to_vec(),
            variables: self.env.clone(),
            permits: Arc::new(Semaphore::new(self.max_processes.min(Semaphore::MAX_PERMITS))),
            read_timeout: self.read_timeout.0,
            kill_after: self.kill_after.0,
        }))
    }
}

/// Finds a program as a shell does: by its path, or in the folders of PATH.
fn find(program: &str) -> anyhow::Result<PathBuf> {
    let is_program = |path: &Path| path.is_file() && access(path, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        let path = PathBuf::from(program);
        std::fs::metadata(&path).with_context(|| format!("cannot look at {program}"))?;
        ensure!(path.is_file(), "{program} is not a file");
        ensure!(
            is_program(&path),
            "{program} cannot be executed: it has no permission for that (chmod +x)"
        );
        return Ok(path);
    }
    let folders = env::var_os("PATH").unwrap_or_default();
    let mut paths = env::split_paths(&folders).map(|folder| folder.join(program));
    paths.find(|path| is_program(path)).with_context(|| {
        format!("no program {program} in PATH; the commands of a shell need --shell")
    })
}

/// A program that is started for each connection.
#[derive(Debug)]
pub(super) struct Program {
    path: PathBuf,
    arguments: Vec<String>,
    variables: Vec<(OsString, OsString)>,
    permits: Arc<Semaphore>,
    pub(super) read_timeout: Option<Duration>,
    pub(super) kill_after: Duration,
}

/// Why there is no process.
#[derive(Debug)]
pub(super) enum NoProcess {
    /// There are as many as there may be.
    TooMany,
    Failed(io::Error),
}

impl Program {
    /// Starts a process with these variables of CGI.
    pub(super) fn start(
        &self,
        variables: impl IntoIterator<Item = (String, OsString)>,
    ) -> Result<Process, NoProcess> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| NoProcess::TooMany)?;
        let ours = PASSED_ON.iter().filter_map(|name| Some((*name, env::var_os(name)?)));
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(ours)
            .envs(variables)
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // What it starts is ended with it, and Ctrl-C on our terminal is not for it.
            .process_group(0)
            .kill_on_drop(true);
        let child = command.spawn().map_err(NoProcess::Failed)?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        Ok(Process { child, group: Group(group), _permit: permit })
    }
}

/// A process that runs. Dropped, it is killed with all that it has started.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) child: Child,
    group: Group,
    _permit: OwnedSemaphorePermit,
}

impl Process {
    /// Has it end: asks by SIGTERM, waits that long, and kills what is left of its group.
    pub(super) async fn end(mut self, kill_after: Duration) {
        self.group.signal(Signal::TERM);
        // Whether it has ended or not: what it has started may be left.
        let _ = timeout(kill_after, self.child.wait()).await;
        self.group.signal(Signal::KILL);
        // It is waited for, so that it does not stay as a zombie.
        let _ = self.child.wait().await;
    }
}

/// The group of a process, which has its number.
#[derive(Debug)]
struct Group(Option<Pid>);

impl Group {
    /// The number is not given to another group while any process of this one is left; where none is, this is an
    /// error that changes nothing.
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.0 {
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// How a process has ended, for its client.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProcessEnd(pub(super) ExitStatus);

impl fmt::Display for ProcessEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.code(), self.0.signal()) {
            (Some(code), _) => write!(f, "the process ended with {code}"),
            (None, Some(signal)) => write!(f, "the process was killed by signal {signal}"),
            (None, None) => f.write_str("the process ended"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exec(command: &str, shell: bool) -> Exec {
        let exec = Some(command.to_owned());
        let kill_after = Time(Duration::from_secs(1));
        let read_timeout = Switch(None);
        Exec { exec, shell, env: Vec::new(), max_processes: 1, read_timeout, kill_after }
    }

    #[test]
    fn a_command_is_words_and_a_shell_runs_it_only_if_asked_to() {
        let program = exec("cat 'a b' \"$HOME\" ;rm", false).program().unwrap().unwrap();
        assert!(program.path.ends_with("cat"), "{program:?}");
        assert_eq!(program.arguments, ["a b", "$HOME", ";rm"]);
        let shell = exec("cat | sort", true).program().unwrap().unwrap();
        assert_eq!(shell.arguments, ["-c", "cat | sort"]);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_at_once() {
        for wrong in ["no-such-program", "./no-such-program", "/etc/passwd", "/", "", "'open"] {
            assert!(exec(wrong, false).program().is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_have_names() {
        assert_eq!(variable("A=b=c"), Ok(("A".into(), "b=c".into())));
        assert_eq!(variable("A="), Ok(("A".into(), "".into())));
        assert!(variable("=b").is_err() && variable("SOCKEYE_NOT_SET_AT_ALL").is_err());
    }
}
