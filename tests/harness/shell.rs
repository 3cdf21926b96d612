//! A shell into which the commands of a guide are typed.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use rustix::process::{Pid, Signal, kill_process_group};
use sockeye_testing::PATIENCE;

/// What the shell prints behind the commands that were typed, before their status.
const END: &str = "-- status ";

/// A shell and all that it has started, killed when dropped.
#[derive(Debug)]
pub struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    /// Starts a shell in that folder, which looks for programs in these folders first.
    ///
    /// # Panics
    ///
    /// When there is none.
    #[must_use]
    pub fn start(folder: &Path, programs: &[PathBuf]) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = programs.iter().cloned().chain(std::env::split_paths(&path));
        // Debian has servers where only root's PATH leads.
        let path = std::env::join_paths(all.chain(["/usr/sbin".into()])).expect("folders");
        let mut command = Command::new("sh");
        command.current_dir(folder).env("PATH", path).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("a shell");
        let output = BufReader::new(child.stdout.take().expect("the output is piped"));
        let (pass_on, lines) = mpsc::channel();
        thread::spawn(move || {
            output.lines().map_while(Result::ok).try_for_each(|line| pass_on.send(line))
        });
        let input = child.stdin.take().expect("the input is piped");
        Self { child, input, lines }
    }

    /// Types commands, of which the last has to end; gives its status, and what all of them have printed.
    ///
    /// # Panics
    ///
    /// When they do not end in time.
    pub fn run(&mut self, commands: &str) -> (i32, String) {
        // What they have printed may end without a line break.
        let script = format!("{commands}\nprintf '\\n{END}%s\\n' $?\n");
        self.input.write_all(script.as_bytes()).expect("the shell reads");
        let mut printed = Vec::new();
        loop {
            let line = self.lines.recv_timeout(PATIENCE);
            let line = line.unwrap_or_else(|why| panic!("{why}: {commands}\n{printed:?}"));
            if let Some(status) = line.strip_prefix(END) {
                let status = status.parse().expect("a status");
                return (status, printed.join("\n").trim_end().to_owned());
            }
            printed.push(line);
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // What it has started, too.
        let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        let _ = self.child.wait();
    }
}
