//! The clients and servers that others have made and the tests run against Sockeye, as a table: from
//! it `cargo xtask test` knows what to install, `tests/interop/peers.rs` what to run, and
//! `cargo xtask interop` writes `docs/channels/works-with.md`.

mod page;
mod table;

pub use page::{fresh, page};
pub use table::PEERS;

/// A library or program, and what it does with Sockeye.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// Where its users are.
    pub ecosystem: Ecosystem,
    /// Its name, which its script is told.
    pub name: &'static str,
    /// What it is installed as; its version is the one that was tried.
    pub package: Package,
    /// Packages of Debian that it needs besides.
    pub needs: &'static [&'static str],
    /// The script or source, in `tests/interop/clients/`.
    pub file: &'static str,
    /// What a C or C++ source is linked with, as pkg-config names it, or the JARs that a
    /// Java source needs.
    pub libraries: &'static [&'static str],
    /// What works, and is tested.
    pub does: &'static [Check],
    /// What its users have to know.
    pub note: &'static str,
}

/// The groups of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "names of languages")]
pub enum Ecosystem {
    C,
    Cpp,
    Go,
    Java,
    Node,
    Perl,
    Php,
    Python,
    Ruby,
}

/// What a library or program is installed as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Package {
    /// A package of Debian.
    Debian(&'static str),
    /// A package of npm, in `tests/package.json`.
    Npm(&'static str),
    /// A package of PyPI, in `tests/requirements.txt`.
    Pip(&'static str),
    /// A part of the language, whose program tells its version.
    Program(&'static str),
}

/// What a peer does with Sockeye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Text, bytes and 1 MiB come back from `sockeye echo`, and the close is clean.
    Echo,
    /// The same with compression, which it offers.
    EchoCompressed,
    /// A plain WebSocket on a channel: it publishes and reads.
    Channel,
    /// Reads Server-Sent Events; after a cut it goes on by the code of its user.
    EventStream,
    /// Reads Server-Sent Events; after a cut it goes on by itself.
    EventSource,
    /// Reads JSON lines, and goes on after a cut.
    JsonLines,
    /// Reads by long polls, over a cut too.
    LongPoll,
    /// Publishes a text, with the type of body that it names by itself.
    Publish,
    /// Is a server for our client and `sockeye connect`.
    Server,
    /// The same with compression.
    ServerCompressed,
}

impl Peer {
    /// The packages of Debian that it needs.
    pub fn debian_packages(&self) -> impl Iterator<Item = &'static str> {
        let own = match self.package {
            Package::Debian(name) => Some(name),
            Package::Npm(_) | Package::Pip(_) | Package::Program(_) => None,
        };
        own.into_iter().chain(self.needs.iter().copied())
    }

    /// The peers of an ecosystem that pass this check.
    pub fn that(ecosystem: Ecosystem, check: Check) -> impl Iterator<Item = &'static Self> {
        PEERS.iter().filter(move |peer| peer.ecosystem == ecosystem && peer.does.contains(&check))
    }
}

impl Ecosystem {
    /// All, in the order of the page.
    pub const ALL: [Self; 9] = [
        Self::Node,
        Self::Python,
        Self::Java,
        Self::Go,
        Self::Ruby,
        Self::Php,
        Self::Perl,
        Self::C,
        Self::Cpp,
    ];

    /// Its name for people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::C => "C",
            Self::Cpp => "C++",
            Self::Go => "Go",
            Self::Java => "Java",
            Self::Node => "Node.js",
            Self::Perl => "Perl",
            Self::Php => "PHP",
            Self::Python => "Python",
            Self::Ruby => "Ruby",
        }
    }

    /// The program that runs or compiles its sources, and the Debian package that has it.
    #[must_use]
    pub fn tool(self) -> (&'static str, &'static str) {
        match self {
            Self::Node => ("node", "nodejs"),
            Self::C => ("cc", "gcc"),
            Self::Cpp => ("c++", "g++"),
            Self::Go => ("go", "golang-go"),
            Self::Java => ("javac", "default-jdk-headless"),
            Self::Perl => ("perl", "perl"),
            Self::Php => ("php", "php-cli"),
            Self::Python => ("python3", "python3"),
            Self::Ruby => ("ruby", "ruby"),
        }
    }
}
