//! Prepares the files that the server serves: the console's, and the browser client's. They name each other with the
//! version of them all, so that a browser may keep what it has under a name for ever; and each is
//! compressed once, here.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher as _};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// Where they are, seen from here.
const FOLDERS: [&str; 2] = ["console", "../../clients/js/served"];

struct File {
    name: String,
    content: String,
}

/// Writes them, and a list of them as Rust, into the folder of what is built.
pub(crate) fn prepare() -> io::Result<()> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
        for entry in fs::read_dir(folder)? {
            files.push(read(&entry?.path())?);
        }
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let version = version(&files);
    let names: Vec<String> = files.iter().map(|file| file.name.clone()).collect();
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or(io::ErrorKind::NotFound)?);
    let mut list =
        format!("const VERSION: &str = {version:?};\npub(crate) const FILES: &[File] = &[\n");
    for File { name, content } in files {
        let content = with_versions(content, &names, &version);
        fs::write(out.join(format!("{name}.br")), brotli(content.as_bytes())?)?;
        fs::write(out.join(format!("{name}.gz")), gzip(content.as_bytes())?)?;
        list += &format!("    file!({name:?}, {:?}),\n", hash(&content));
        fs::write(out.join(name), content)?;
    }
    fs::write(out.join("files.rs"), list + "];\n")
}

fn read(path: &Path) -> io::Result<File> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(File { name, content: fs::read_to_string(path)? })
}

/// A version that another content does not have.
fn version(files: &[File]) -> String {
    let contents: Vec<_> = files.iter().map(|file| (&file.name, &file.content)).collect();
    format!("{}-{}", env!("CARGO_PKG_VERSION"), hash(&contents))
}

fn hash(content: &impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The file with the version behind the names of others, in imports (`from './log.js'`) and in the page (`src="console.js"`).
fn with_versions(mut content: String, names: &[String], version: &str) -> String {
    for name in names {
        for (before, after) in [("from './", "'"), ("src=\"", "\""), ("href=\"", "\"")] {
            let named = format!("{before}{name}{after}");
            content = content.replace(&named, &format!("{before}{name}?v={version}{after}"));
        }
    }
    content
}

fn gzip(content: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    encoder.finish()
}

fn brotli(mut content: &[u8]) -> io::Result<Vec<u8>> {
    let parameters =
        brotli::enc::BrotliEncoderParams { size_hint: content.len(), ..Default::default() };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut content, &mut compressed, &parameters)?;
    Ok(compressed)
}
