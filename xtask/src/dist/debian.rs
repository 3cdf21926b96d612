//! The Debian package: the program, its manual and completions, a service of systemd and its configuration.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use super::{changed, documents};
use crate::prepare::Need;
use crate::shell;

pub(crate) const NEEDS: &[Need] = &[Need::DebianTools];

/// How well `dpkg-deb` compresses.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// Well, which takes a while.
    Small,
    /// Hardly, for a test.
    Fast,
}

/// Makes `sockeye_VERSION_ARCHITECTURE.deb` in `out` of this program, and gives its path.
pub(crate) fn package(
    program: &Path,
    version: &str,
    out: &Path,
    compression: Compression,
) -> Result<PathBuf> {
    let architecture = shell::output(Command::new("dpkg").arg("--print-architecture"))?;
    let tree = out.join("deb");
    if tree.exists() {
        fs::remove_dir_all(&tree)?;
    }
    fill(&tree, program)?;
    control(&tree, version, &architecture)?;
    let package = out.join(format!("sockeye_{version}_{architecture}.deb"));
    let (kind, level) = match compression {
        Compression::Small => ("-Zxz", "-z6"),
        Compression::Fast => ("-Zgzip", "-z1"),
    };
    // The same bytes at any time.
    let mut build = Command::new("dpkg-deb");
    build.env("SOURCE_DATE_EPOCH", changed()?);
    build.args(["--root-owner-group", kind, level, "--build"]).arg(&tree).arg(&package);
    shell::run(&mut build)?;
    fs::remove_dir_all(&tree)?;
    Ok(package)
}

/// Puts the files where they are installed, below `tree`.
fn fill(tree: &Path, program: &Path) -> Result<()> {
    let packaging = shell::root().join("packaging");
    let doc = "usr/share/doc/sockeye";
    install(program, tree, "usr/bin/sockeye", 0o755)?;
    for (source, place) in [
        ("packaging/systemd/sockeye.service", "lib/systemd/system/sockeye.service"),
        ("packaging/systemd/sockeye.socket", "lib/systemd/system/sockeye.socket"),
        ("packaging/sockeye.toml", "etc/sockeye/sockeye.toml"),
        ("README.md", &format!("{doc}/README.md")),
        ("CHANGELOG.md", &format!("{doc}/changelog")),
    ] {
        install(&shell::root().join(source), tree, place, 0o644)?;
    }
    let licence = fs::read_to_string(shell::root().join("LICENSE-MIT"))?;
    let licence =
        licence.lines().map(|line| format!(" {}\n", if line.is_empty() { "." } else { line }));
    let copyright = fs::read_to_string(packaging.join("debian/copyright"))?;
    fs::write(tree.join(doc).join("copyright"), copyright + &licence.collect::<String>())?;

    let (man, completions) = (tree.join("usr/share/man/man1"), tree.join("completions"));
    documents(program, &man, &completions)?;
    for page in fs::read_dir(&man)? {
        shell::run(Command::new("gzip").args(["-9n"]).arg(page?.path()))?;
    }
    shell::run(Command::new("gzip").args(["-9n"]).arg(tree.join(doc).join("changelog")))?;
    for (script, place) in [
        ("sockeye.bash", "usr/share/bash-completion/completions/sockeye"),
        ("_sockeye", "usr/share/zsh/vendor-completions/_sockeye"),
        ("sockeye.fish", "usr/share/fish/vendor_completions.d/sockeye.fish"),
    ] {
        install(&completions.join(script), tree, place, 0o644)?;
    }
    fs::remove_dir_all(completions)?;
    Ok(())
}

/// Describes the package: what it needs is what the program is linked to.
fn control(tree: &Path, version: &str, architecture: &str) -> Result<()> {
    let (source, folder) = (shell::root().join("packaging/debian"), tree.join("DEBIAN"));
    for script in ["postinst", "prerm", "postrm"] {
        install(&source.join(script), tree, &format!("DEBIAN/{script}"), 0o755)?;
    }
    install(&source.join("conffiles"), tree, "DEBIAN/conffiles", 0o644)?;
    // dpkg-shlibdeps wants to stand in a source package.
    let debian = tree.join("debian");
    fs::create_dir(&debian)?;
    fs::write(debian.join("control"), "Source: sockeye\n\nPackage: sockeye\nArchitecture: any\n")?;
    let mut needed = Command::new("dpkg-shlibdeps");
    let needed = shell::output(needed.current_dir(tree).args(["-O", "usr/bin/sockeye"]))?;
    fs::remove_dir_all(debian)?;
    let needed = needed.trim_start_matches("shlibs:Depends=");
    let size = shell::output(Command::new("du").args(["-sk", "--exclude=DEBIAN"]).arg(tree))?;
    let size = size.split_whitespace().next().unwrap_or("0");
    let control = fs::read_to_string(source.join("control"))?
        .replace("@VERSION@", version)
        .replace("@ARCHITECTURE@", architecture)
        .replace("@SIZE@", size)
        .replace("@DEPENDS@", needed);
    fs::write(folder.join("control"), control)?;
    Ok(())
}

fn install(source: &Path, tree: &Path, place: &str, mode: u32) -> Result<()> {
    let target = tree.join(place);
    if let Some(folder) = target.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::copy(source, &target)?;
    fs::set_permissions(target, fs::Permissions::from_mode(mode))?;
    Ok(())
}
