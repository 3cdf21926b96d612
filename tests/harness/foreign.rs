//! Programs of others: the sources in `interop/clients/`, run or compiled by their language's own tools.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use sockeye_peers::{Ecosystem, Peer};

use crate::build_directory;
use crate::script::{Script, folder, python};

/// Starts a peer's program with these arguments; it is compiled first where its language wants that.
///
/// # Panics
///
/// When it cannot be compiled or started.
#[must_use]
pub fn start(peer: &Peer, arguments: &[&str]) -> Script {
    let source = folder().join("interop/clients").join(peer.file);
    let mut command = match peer.ecosystem {
        Ecosystem::C | Ecosystem::Cpp | Ecosystem::Go => Command::new(compiled(peer, &source)),
        Ecosystem::Java => {
            let classes = compiled(peer, &source);
            let mut java = Command::new("java");
            // Small programs of a few seconds: the quick compiler alone, and little memory.
            java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8"]);
            java.arg("-cp").arg(class_path(peer, &classes));
            java.arg(source.file_stem().expect("a class"));
            java
        }
        Ecosystem::Python => interpreted(&python(), &source),
        other => interpreted(Path::new(other.tool().0), &source),
    };
    command.args(arguments);
    Script::spawn(&mut command)
}

fn interpreted(program: &Path, source: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg(source);
    command
}

fn class_path(peer: &Peer, classes: &Path) -> String {
    let jars = peer.libraries.iter().map(|jar| format!("/usr/share/java/{jar}"));
    [classes.display().to_string()].into_iter().chain(jars).collect::<Vec<_>>().join(":")
}

/// What the compiler makes of a source, beside the other things built; made again when a source of
/// its language is newer. Tests run side by side: one compiles, the others wait.
fn compiled(peer: &Peer, source: &Path) -> PathBuf {
    let place = build_directory().join("interop");
    fs::create_dir_all(&place).expect("the build directory can be written");
    let built = place.join(peer.file.replace(['/', '.'], "-"));
    let lock = File::create(built.with_extension("lock")).expect("a file for a lock");
    lock.lock().expect("a lock");
    let done = built.with_extension("done");
    let is_fresh = modified(&done).is_some_and(|done| newest(source) <= Some(done));
    if !is_fresh {
        let mut command = compiler(peer, source, &built);
        let output = command.output().expect("`cargo xtask test interop` installs the compilers");
        let why = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command:?}:\n{why}");
        fs::write(done, "").expect("the build directory can be written");
    }
    built
}

/// The latest change of the sources in the folder of this one.
fn newest(source: &Path) -> Option<std::time::SystemTime> {
    let folder = source.parent().expect("a source is in a folder");
    let files = fs::read_dir(folder).expect("the folder can be read");
    files.filter_map(|file| modified(&file.ok()?.path())).max()
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    path.metadata().and_then(|data| data.modified()).ok()
}

fn compiler(peer: &Peer, source: &Path, built: &Path) -> Command {
    let (program, _) = peer.ecosystem.tool();
    let mut command = Command::new(program);
    match peer.ecosystem {
        Ecosystem::Go => {
            // Debian's libraries, and nothing from elsewhere.
            command.envs([("GO111MODULE", "off"), ("GOPATH", "/usr/share/gocode")]);
            command.env("GOCACHE", built.with_file_name("go-cache"));
            command.args(["build", "-o"]).arg(built).arg(source.with_file_name("common.go"));
        }
        Ecosystem::Java => {
            let jars = class_path(peer, source.parent().expect("a folder"));
            command
                .args(["-encoding", "UTF-8", "-proc:none", "-d"])
                .arg(built)
                .args(["-cp", &jars]);
        }
        language => {
            let standard = if language == Ecosystem::Cpp { "-std=c++17" } else { "-std=gnu11" };
            command.args([standard, "-fPIC", "-pthread", "-o"]).arg(built);
        }
    }
    command.arg(source);
    if matches!(peer.ecosystem, Ecosystem::C | Ecosystem::Cpp) && !peer.libraries.is_empty() {
        command.args(flags(peer.libraries));
    }
    command
}

/// What a C compiler is told about libraries, as pkg-config has it.
fn flags(libraries: &[&str]) -> Vec<String> {
    let output = Command::new("pkg-config").args(["--cflags", "--libs"]).args(libraries).output();
    let output = output.expect("`cargo xtask test interop` installs pkg-config");
    String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect()
}
