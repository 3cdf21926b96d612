//! The Debian package, as its user meets it: installed, started, upgraded, removed and purged, below a folder in the place
//! of the machine's root. `cargo xtask test package` makes it, of the program as it is built for tests, in two versions.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use sockeye_tests::build_directory;
use sockeye_tests::curl::curl;
use sockeye_tests::program::Sockeye;
use tempfile::TempDir;

const CONFIG: &str = "etc/sockeye/sockeye.toml";
const STATE: &str = "var/lib/sockeye";
const ENABLED: &str = "etc/systemd/system/multi-user.target.wants/sockeye.service";

/// The two versions, the older first.
fn packages() -> [PathBuf; 2] {
    let here = || build_directory().parent().expect("it is in a folder").join("packages");
    let folder = env::var_os("SOCKEYE_PACKAGES").map_or_else(here, PathBuf::from);
    let files = fs::read_dir(folder).expect("`cargo xtask test package` makes them");
    let mut files: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    files.sort();
    files.try_into().expect("two versions")
}

/// What a command prints, which succeeds.
fn output(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("the program runs");
    let (text, why) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {why}{text}");
    text.into_owned()
}

/// A folder in the place of the root of a machine, which dpkg installs into.
struct Machine(TempDir);

impl Machine {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a folder");
        // dpkg's own, and those of systemd.
        let folders =
            ["var/lib/dpkg/info", "var/lib/dpkg/updates", "etc/systemd/system", "var/lib/systemd"];
        for folder in folders {
            fs::create_dir_all(root.path().join(folder)).expect("a folder");
        }
        fs::write(root.path().join("var/lib/dpkg/status"), "").expect("a file");
        Self(root)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn has(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    /// Runs dpkg as root of that machine alone.
    fn dpkg(&self, arguments: &[&str]) -> String {
        let root = format!("--root={}", self.0.path().display());
        let mut dpkg = Command::new("fakeroot");
        dpkg.args(["dpkg", &root, "--force-not-root", "--force-script-chrootless"]);
        // The libraries of this machine are not packages of that one.
        output(dpkg.args(["--force-depends", "--log=/dev/null"]).args(arguments))
    }

    fn install(&self, package: &Path) {
        let _ = self.dpkg(&["--install", package.to_str().expect("UTF-8")]);
    }

    /// Every file that is not dpkg's own.
    fn files(&self) -> BTreeSet<PathBuf> {
        let (mut files, mut folders) = (BTreeSet::new(), vec![self.0.path().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let entry = entry.expect("an entry");
                if entry.file_type().expect("a type").is_dir() {
                    folders.push(entry.path());
                }
                files.insert(entry.path().strip_prefix(self.0.path()).expect("below").to_owned());
            }
        }
        files.retain(|path| !path.starts_with("var/lib/dpkg"));
        files
    }

    /// The installed program serving with the installed configuration, on free ports of this machine and with
    /// the state of that one.
    fn serve(&self) -> Sockeye {
        let (program, config) = (self.path("usr/bin/sockeye"), self.path(CONFIG));
        let state = self.path(STATE);
        let [program, config, state] =
            [&program, &config, &state].map(|path| path.to_str().expect("UTF-8"));
        let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", state];
        Sockeye::serve_by(program, &[&["serve", "--config", config][..], &listen].concat())
    }
}

#[test]
fn the_package_is_installed_upgraded_and_purged_without_residue() {
    let machine = Machine::new();
    let before = machine.files();
    let [older, newer] = packages();
    machine.install(&older);
    assert!(machine.has(ENABLED), "the service starts with the machine");
    assert!(!machine.has("etc/systemd/system/sockets.target.wants/sockeye.socket"));

    let server = machine.serve();
    let _ = curl(&["-d", "hello", &server.http("/c/chat")]);
    let _ = server.stop();
    let config = machine.path(CONFIG);
    let changed = fs::read_to_string(&config).expect("a configuration") + "history_count = 7\n";
    fs::write(&config, &changed).expect("it is written");

    machine.install(&newer);
    assert_eq!(fs::read_to_string(&config).expect("a configuration"), changed);
    let server = machine.serve();
    let page = curl(&[&server.http("/c/chat")]);
    assert!(page.contains("hello"), "{page}");
    let _ = server.stop();

    let _ = machine.dpkg(&["--remove", "sockeye"]);
    assert!(!machine.has("usr/bin/sockeye"));
    assert!(machine.has(CONFIG) && machine.has(STATE), "they stay until it is purged");
    let _ = machine.dpkg(&["--purge", "sockeye"]);
    let left: Vec<_> = machine.files().difference(&before).cloned().collect();
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn a_service_that_was_disabled_stays_so_over_an_upgrade() {
    let machine = Machine::new();
    let [older, newer] = packages();
    machine.install(&older);
    // What `systemctl disable` does.
    fs::remove_file(machine.path(ENABLED)).expect("it is enabled");
    machine.install(&newer);
    assert!(!machine.has(ENABLED));
}

#[test]
fn the_package_has_the_manual_and_the_completions_of_its_program() {
    let machine = Machine::new();
    let [package, _] = packages();
    machine.install(&package);
    let man = |page: &str| {
        let path = machine.path("usr/share/man/man1").join(page);
        output(Command::new("gzip").args(["-dc"]).arg(path))
    };
    assert!(man("sockeye.1.gz").contains("sockeye"));
    assert!(man("sockeye-serve.1.gz").contains("history"));
    for file in [
        "usr/share/bash-completion/completions/sockeye",
        "usr/share/zsh/vendor-completions/_sockeye",
        "usr/share/fish/vendor_completions.d/sockeye.fish",
        "usr/share/doc/sockeye/copyright",
        "usr/share/doc/sockeye/changelog.gz",
    ] {
        assert!(machine.has(file), "{file}");
    }
    let field = |name| output(Command::new("dpkg-deb").arg("--field").arg(&package).arg(name));
    assert!(field("Depends").contains("libc6 (>= "), "{}", field("Depends"));
    assert_ne!(field("Installed-Size").trim(), "0");
}

/// systemd finds nothing wrong with the units, and rates the service below 2.0 (out of 10; lower is less exposed).
#[test]
fn systemd_accepts_the_units_and_finds_them_hardened() {
    let machine = Machine::new();
    let [package, _] = packages();
    machine.install(&package);
    let units = machine.path("lib/systemd/system");
    let service = units.join("sockeye.service");
    let mut rating = Command::new("systemd-analyze");
    let _ = output(rating.args(["security", "--offline=yes", "--threshold=20"]).arg(&service));

    // Verifying looks for the program where the unit says that it is.
    let unit = fs::read_to_string(&service).expect("a unit");
    let program = machine.path("usr/bin/sockeye").display().to_string();
    fs::write(&service, unit.replace("/usr/bin/sockeye", &program)).expect("it is written");
    let mut verify = Command::new("systemd-analyze");
    verify.args(["verify", "--man=no"]).arg(&service).arg(units.join("sockeye.socket"));
    let complaints = verify.output().expect("it runs");
    assert!(complaints.status.success());
    assert_eq!(String::from_utf8_lossy(&complaints.stderr), "");
}
