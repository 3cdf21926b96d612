//! The recipe without containers of `docs/operate/cluster.md`, typed as it stands, and what `status` shows there.

use std::path::{Path, PathBuf};
use std::process::Command;

use sockeye_testing::eventually;
use sockeye_tests::nats;
use sockeye_tests::program;
use sockeye_tests::shell::Shell;

const GUIDE: &str = include_str!("../../docs/operate/cluster.md");
/// What the guide listens on. A test has an address of its own beside those that run meanwhile.
const LOOPBACK: &str = "127.0.0.1";

/// The text between these two, the first time after `from`.
fn between(from: &str, begin: &str, end: &str) -> &'static str {
    let rest = GUIDE.split_once(from).expect("the guide has the section").1;
    let rest = rest.split_once(begin).expect("the section has a block").1;
    rest.split_once(end).expect("the block ends").0
}

/// A copy of the folder that the guide enters, beside which it makes files.
fn copy_of_the_recipe() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/cluster");
    let examples = folder.path().join("examples");
    std::fs::create_dir(&examples).expect("the directory can be written to");
    let copied = Command::new("cp").arg("-r").args([recipe, examples]).status();
    assert!(copied.expect("cp runs").success());
    folder
}

/// Text without what is another one in each cluster: addresses, names and numbers, and how wide they are.
fn shape(text: &str) -> Vec<Vec<String>> {
    let is_other = |word: &str| word.contains('.') || word.contains(|c: char| c.is_ascii_digit());
    let word = |word: &str| if is_other(word) { "#".to_owned() } else { word.to_owned() };
    text.lines().map(|line| line.split_whitespace().map(word).collect()).collect()
}

#[test]
fn the_recipe_without_containers_works_as_it_is_typed() {
    const SECTION: &str = "## On one machine, without containers";
    let process = std::process::id().to_be_bytes();
    let address = format!("127.{}.{}.{}", 128 + (process[1] & 63), process[2], process[3].max(2));
    let [start, uses] = ["```sh\ncd ", "```sh\ncurl "].map(|begin| {
        let block = between(SECTION, begin, "\n```");
        format!("{}{block}", &begin["```sh\n".len()..]).replace(LOOPBACK, &address)
    });
    let folder = copy_of_the_recipe();
    let programs = [nats::path(), program::path()];
    let programs = programs.map(|path| path.parent().map(PathBuf::from).expect("a folder"));
    let mut shell = Shell::start(folder.path(), &programs);
    shell.run(&start);
    for node in 1..=3 {
        let ready = format!("curl -sS http://{address}:908{node}/readyz");
        eventually("the node is ready", || match shell.run(&ready) {
            (0, said) if said == "ready" => Ok(()),
            said => Err((node, said, shell.run("tail -n 3 run/*.log"))),
        });
    }
    let said = eventually("a message comes back, and all is well", || match shell.run(&uses) {
        (0, said) => Ok(said),
        said => Err((said, shell.run("tail -n 3 run/*.log"))),
    });
    assert!(said.contains("\"data\":\"hello\""), "{said}");
    let (_, status) = said.split_once("cluster sockeye").expect("the status");
    let shown = between("## Looking at it", "\ncluster sockeye", "\n```");
    assert_eq!(shape(status), shape(shown), "the guide shows what is printed:\n{status}");
}
