//! `cargo xtask dist`: what is installed, into `target/dist`.

pub(crate) mod debian;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use clap::{Args, ValueEnum};

use crate::prepare::{self, Need};
use crate::shell;

/// The version of all crates, and so of the packages.
pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What `cargo xtask dist` is told.
#[derive(Args)]
pub(crate) struct Options {
    /// What to make; all of it when nothing is named
    #[arg(value_enum, value_name = "KIND")]
    kinds: Vec<Kind>,
    /// Install missing Debian packages with sudo, where you are not root
    #[arg(long)]
    install: bool,
    /// Install, run, upgrade and purge the Debian package that is made, as `cargo xtask test package` does it with one
    /// of the program for tests
    #[arg(long)]
    test: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// A static program, for any Linux (musl)
    Musl,
    /// A program for Linux with glibc as old as this machine's or newer
    Gnu,
    /// A Debian package, of the program for glibc
    Debian,
}

/// Makes the packages and the list of their checksums.
pub(crate) fn run(options: &Options) -> Result<()> {
    let all = [Kind::Musl, Kind::Gnu, Kind::Debian];
    let kinds = if options.kinds.is_empty() { &all[..] } else { &options.kinds };
    ensure!(
        !options.test || kinds.contains(&Kind::Debian),
        "--test is for the Debian package: name `debian` too"
    );
    prepare::prepare_with(&[Need::Binutils], options.install)?;
    if options.test {
        prepare::prepare_with(&[Need::CargoTool("cargo-nextest")], options.install)?;
    }
    let out = shell::target()?.join("dist");
    fs::create_dir_all(&out)?;
    for kind in kinds {
        match kind {
            Kind::Musl => {
                prepare::prepare_with(&[Need::Musl], options.install)?;
                archive("x86_64-unknown-linux-musl", &out)?;
            }
            Kind::Gnu => archive(GNU, &out)?,
            Kind::Debian => {
                prepare::prepare_with(debian::NEEDS, options.install)?;
                let folder = program(GNU, &out)?;
                let stripped = folder.join(PROGRAM);
                debian::package(&stripped, VERSION, &out, debian::Compression::Small)?;
                if options.test {
                    let packages = folder.join("packages");
                    two_packages(&stripped, &packages)?;
                    test(&packages)?;
                }
                fs::remove_dir_all(folder)?;
            }
        }
    }
    checksums(&out)
}

/// Makes the packages of the step `package`, of the program that tests run, and tests them.
pub(crate) fn test_packages() -> Result<()> {
    let target = shell::target()?;
    let stripped = target.join("sockeye.stripped");
    let mut strip = Command::new("strip");
    shell::run(strip.arg("-o").arg(&stripped).arg(target.join("debug/sockeye")))?;
    let packages = target.join("packages");
    two_packages(&stripped, &packages)?;
    test(&packages)
}

/// Makes two Debian packages of a program, an older and a newer one, and nothing else in this folder.
fn two_packages(stripped: &Path, out: &Path) -> Result<()> {
    if out.exists() {
        fs::remove_dir_all(out)?;
    }
    fs::create_dir_all(out)?;
    for version in [VERSION.to_owned(), format!("{VERSION}+1")] {
        debian::package(stripped, &version, out, debian::Compression::Fast)?;
    }
    Ok(())
}

/// Installs, runs, upgrades and purges the two packages.
fn test(packages: &Path) -> Result<()> {
    let filter = "package(sockeye-tests) & binary(package)";
    let mut tests = shell::cargo(["nextest", "run", "--workspace", "-E", filter]);
    shell::run(tests.env("SOCKEYE_PACKAGES", packages))
}

const GNU: &str = "x86_64-unknown-linux-gnu";
/// The file of the program, and that of what a debugger wants to know of it: the first names the second, which stands
/// beside it.
const PROGRAM: &str = "sockeye";
const DEBUG: &str = "sockeye.debug";

/// Builds the program for this target, and gives the folder with both files.
fn program(target: &str, out: &Path) -> Result<PathBuf> {
    let args = ["build", "--release", "--locked", "-p", "sockeye-cli", "--target", target];
    // The day in the pages of the manual.
    let day = shell::output(&mut shell::command("git", ["log", "-1", "--format=%cs"]))?;
    shell::run(shell::cargo(args).env("SOCKEYE_DATE", day))?;
    let built = shell::target()?.join(target).join("release/sockeye");
    let folder = out.join(target);
    fs::create_dir_all(&folder)?;
    let (stripped, debug) = (folder.join(PROGRAM), folder.join(DEBUG));
    let (source, program, symbols) = (text(&built)?, text(&stripped)?, text(&debug)?);
    let link = format!("--add-gnu-debuglink={symbols}");
    for args in [
        &["--only-keep-debug", "--compress-debug-sections", source, symbols][..],
        &["--strip-debug", "--strip-unneeded", source, program],
        &[&link, program],
    ] {
        shell::run(&mut shell::command("objcopy", args.iter().copied()))?;
    }
    fs::set_permissions(debug, fs::Permissions::from_mode(0o644))?;
    Ok(folder)
}

/// An archive of the program with its pages, completions, licences and the unit of systemd; the debug information is
/// one of its own.
fn archive(target: &str, out: &Path) -> Result<()> {
    let built = program(target, out)?;
    let name = format!("sockeye-{VERSION}-{target}");
    let folder = out.join(&name);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let program = folder.join(PROGRAM);
    fs::copy(built.join(PROGRAM), &program)?;
    documents(&program, &folder.join("man"), &folder.join("completions"))?;
    for file in ["README.md", "CHANGELOG.md", "LICENSE-APACHE", "LICENSE-MIT"] {
        fs::copy(shell::root().join(file), folder.join(file))?;
    }
    let packaging = shell::root().join("packaging");
    fs::create_dir_all(folder.join("systemd"))?;
    for file in ["systemd/sockeye.service", "systemd/sockeye.socket", "sockeye.toml"] {
        fs::copy(packaging.join(file), folder.join(file))?;
    }
    tar(out, &name, &name)?;
    fs::remove_dir_all(&folder)?;
    // Unpacked in the same place, it is beside the program.
    fs::create_dir_all(&folder)?;
    fs::rename(built.join(DEBUG), folder.join(DEBUG))?;
    fs::remove_dir_all(built)?;
    tar(out, &format!("{name}-debug"), &name)?;
    fs::remove_dir_all(&folder)?;
    Ok(())
}

/// The manual and the completions, as the program prints them.
pub(crate) fn documents(program: &Path, man: &Path, completions: &Path) -> Result<()> {
    fs::create_dir_all(completions)?;
    shell::run(Command::new(program).args(["man", "--dir"]).arg(man))?;
    for (shell, file) in [
        ("bash", "sockeye.bash"),
        ("zsh", "_sockeye"),
        ("fish", "sockeye.fish"),
        ("powershell", "_sockeye.ps1"),
    ] {
        let script = shell::output(Command::new(program).args(["completions", shell]))?;
        fs::write(completions.join(file), script + "\n")?;
    }
    Ok(())
}

/// Packs `content`, a folder or a file of `out`: the same bytes on each machine and at any time.
fn tar(out: &Path, name: &str, content: &str) -> Result<()> {
    let archive = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    // Without a name and a time of its own in the archive.
    tar.current_dir(out).args(["-I", "gzip -n"]);
    tar.args(["--sort=name", "--owner=0", "--group=0", "--numeric-owner", "--mtime"]);
    tar.arg(format!("@{}", changed()?));
    shell::run(tar.args(["-cf", &archive, content]))
}

/// When the sources were last changed, in seconds since 1970, for the times in archives and packages.
fn changed() -> Result<String> {
    shell::output(&mut shell::command("git", ["log", "-1", "--format=%ct"]))
}

/// `SHA256SUMS`: a line for each file to be handed out.
fn checksums(out: &Path) -> Result<()> {
    let mut names = Vec::new();
    for file in fs::read_dir(out)? {
        let name = file?.file_name().to_string_lossy().into_owned();
        if name.ends_with(".tar.gz") || name.ends_with(".deb") {
            names.push(name);
        }
    }
    names.sort_unstable();
    let mut sums = Command::new("sha256sum");
    let sums = shell::output(sums.current_dir(out).args(&names))? + "\n";
    fs::write(out.join("SHA256SUMS"), &sums)?;
    eprint!("{sums}");
    Ok(())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().context("the path of the build directory is not UTF-8")
}
