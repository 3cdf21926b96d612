//! Two embedded stores under the load of a channel server: many channels, small appends, one sync
//! for many publications, range reads, expiry, and a start after the process died.
//!
//! `cargo run --release --manifest-path benches/store/Cargo.toml [-- DIR]`; the files go to DIR, or
//! to the system's folder for temporary files. Each engine writes in a process of its own, which
//! ends without closing anything.

mod engine;
mod fjall_engine;
mod load;
mod redb_engine;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use engine::Engine;

const ENGINES: [&str; 3] = ["fjall", "redb", "redb-quick"];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["write", engine, dir] => {
            load::write(&mut *open(engine, Path::new(dir))?)?;
            // As with kill -9: nothing is closed or flushed.
            std::process::abort()
        }
        ["read", engine, dir] => read(engine, Path::new(dir)),
        [] => compare(&std::env::temp_dir()),
        [dir] => compare(Path::new(dir)),
        _ => bail!("usage: store-bench [DIR]"),
    }
}

fn compare(dir: &Path) -> Result<()> {
    println!("{}", load::describe());
    for engine in ENGINES {
        let dir = tempfile::tempdir_in(dir)?;
        println!("\n{engine}");
        run("write", engine, dir.path())?;
        println!("  {:<34} {:>9} MiB", "on disk", disk(dir.path())? >> 20);
        ensure!(run("read", engine, dir.path())?, "{engine} did not come back");
    }
    Ok(())
}

/// Runs a part in a process of its own; whether it succeeded.
fn run(part: &str, engine: &str, dir: &Path) -> Result<bool> {
    let program = std::env::current_exe()?;
    let status = Command::new(program).args([part, engine]).arg(dir).status()?;
    Ok(status.success())
}

fn open(engine: &str, dir: &Path) -> Result<Box<dyn Engine>> {
    Ok(match engine {
        "fjall" => Box::new(fjall_engine::Store::open(dir)?),
        "redb" => Box::new(redb_engine::Store::open(dir, false)?),
        "redb-quick" => Box::new(redb_engine::Store::open(dir, true)?),
        other => bail!("no engine is called {other}"),
    })
}

fn read(engine: &str, dir: &Path) -> Result<()> {
    let begin = std::time::Instant::now();
    let mut store = open(engine, dir)?;
    load::line("start after it died", begin.elapsed());
    load::read_and_expire(&mut *store).context("reading")?;
    println!("  {:<34} {:>9} MiB", "memory", memory()? >> 20);
    drop(store);
    println!("  {:<34} {:>9} MiB", "on disk, 90 % of it deleted", disk(dir)? >> 20);
    Ok(())
}

/// What the files really take, holes not counted, in bytes.
fn disk(dir: &Path) -> Result<u64> {
    use std::os::unix::fs::MetadataExt;
    let (mut sum, mut folders) = (0, vec![PathBuf::from(dir)]);
    while let Some(folder) = folders.pop() {
        for entry in folder.read_dir()? {
            let entry = entry?;
            match entry.file_type()?.is_dir() {
                true => folders.push(entry.path()),
                false => sum += entry.metadata()?.blocks() * 512,
            }
        }
    }
    Ok(sum)
}

/// The resident memory of this process, in bytes.
fn memory() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib << 10)
}

