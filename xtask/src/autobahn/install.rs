//! Installing the suite: an environment of CPython 2.7 with versions that still work together.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::shell;

/// What goes into the environment, in this order: each step with options of pip, and packages.
const STEPS: [&[&str]; 5] = [
    &["pip==20.3.4", "setuptools==44.0.0", "wheel==0.36.2"],
    &["incremental==16.10.1"], // or Twisted asks for a newer one, of Python 3
    &["pyOpenSSL==19.1.0", "cryptography==3.3.2"],
    &["--no-build-isolation", "Twisted==19.10.0"],
    &["--no-build-isolation", "autobahntestsuite==25.10.1"],
];

/// The environment in this folder; made if it is not there.
pub(super) fn suite(folder: &Path) -> Result<PathBuf> {
    let suite = folder.join("suite");
    if wstest(&suite).exists() {
        return Ok(suite);
    }
    let python2 = find_python2().context(
        "the Autobahn test suite needs CPython 2.7, and there is none on the PATH or with pyenv",
    )?;
    let boot = folder.join("virtualenv");
    shell::run(pip(&python2).arg("--target").arg(&boot).arg("virtualenv==16.7.12"))?;
    let mut environment = quiet(&python2);
    environment.args(["-m", "virtualenv", "-q", "--no-download"]).arg(&suite);
    shell::run(environment.env("PYTHONPATH", &boot))?;
    for step in STEPS {
        shell::run(pip(&python(&suite)).args(step))?;
    }
    Ok(suite)
}

/// The environment's Python.
pub(super) fn python(suite: &Path) -> PathBuf {
    suite.join("bin/python")
}

/// The suite's program.
pub(super) fn wstest(suite: &Path) -> PathBuf {
    suite.join("bin/wstest")
}

/// The suite's own versions, in one line.
pub(super) fn versions(suite: &Path) -> Result<String> {
    let versions = shell::output(quiet(&python(suite)).arg(wstest(suite)).arg("-a"))?;
    Ok(versions.lines().collect::<Vec<_>>().join(", "))
}

fn pip(python: &Path) -> Command {
    let mut pip = quiet(python);
    pip.args(["-m", "pip", "install", "-q"]).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
    pip
}

/// This Python; it does not say that it is of age.
fn quiet(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.env("PYTHONWARNINGS", "ignore");
    command
}

/// One on the PATH that starts (pyenv puts names there that do not), or the newest that pyenv has.
fn find_python2() -> Option<PathBuf> {
    let on_path = PathBuf::from("python2.7");
    if shell::succeeds(Command::new(&on_path).arg("--version")) {
        return Some(on_path);
    }
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")))?;
    let versions = fs::read_dir(root.join("versions")).ok()?.filter_map(Result::ok);
    let pythons = versions.map(|version| version.path().join("bin/python2.7"));
    pythons.filter(|python| python.exists()).max()
}
