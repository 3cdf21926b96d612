//! Files and directories that belong to the server alone, and stay when the power fails.
//!
//! On Unix they have modes that keep other users out. On Windows they have the access control list of
//! the directory that they are made in.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
#[cfg(unix)]
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Only its owner uses a directory.
#[cfg(unix)]
const DIR: u32 = 0o700;
/// Only its owner reads or writes a file.
#[cfg(unix)]
const FILE: u32 = 0o600;

/// Makes the directory, and those above it that are missing, each with mode 0700. One that is there
/// keeps its mode.
pub(super) fn create_dir(path: &Path) -> io::Result<()> {
    if path.is_dir() {
        return Ok(());
    }
    let above = path.parent().filter(|above| !above.as_os_str().is_empty());
    if let Some(above) = above {
        create_dir(above)?;
    }
    match make_dir(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => {}
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(io::Error::new(ErrorKind::NotADirectory, "it is not a directory"));
        }
        made => made?,
    }
    // Without this the directory, with all that is in it, may be gone after a power failure.
    sync_dir(above.unwrap_or(Path::new(".")))
}

/// Makes one directory with mode 0700.
pub(super) fn make_dir(path: &Path) -> io::Result<()> {
    #[cfg_attr(not(unix), expect(unused_mut, reason = "on Unix it has a mode"))]
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    builder.mode(DIR);
    builder.create(path)
}

/// Takes everything in the directory of the store away from other users, however it was made, and
/// warns if they may write to the directory itself.
#[cfg(unix)]
pub(super) fn secure(dir: &Path) -> io::Result<()> {
    let mode = fs::metadata(dir)?.permissions().mode();
    if mode & 0o002 != 0 {
        tracing::warn!(
            dir = %dir.display(), mode = %format_args!("{:o}", mode & 0o7777),
            "every user of this machine may write to the directory of the channels"
        );
    }
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let (kind, mode) = (entry.file_type()?, entry.metadata()?.permissions().mode());
        let name = entry.file_name();
        let is_ours = ["channels", "lock", "written"].iter().any(|ours| name == *ours)
            || name.to_string_lossy().starts_with("damaged-");
        if !is_ours || kind.is_symlink() || mode & 0o077 == 0 {
            continue;
        }
        // What belongs to another user stays as it is.
        if let Err(error) =
            fs::set_permissions(entry.path(), fs::Permissions::from_mode(mode & 0o7700))
        {
            tracing::warn!(%error, path = %entry.path().display(), "other users may come to this");
        }
    }
    Ok(())
}

/// Access to a directory is up to its access control list.
#[cfg(not(unix))]
pub(super) fn secure(_dir: &Path) -> io::Result<()> {
    Ok(())
}

/// Opens a file to read and to write, which is made if there is none.
pub(super) fn open(path: &Path) -> io::Result<File> {
    options().read(true).create(true).truncate(false).open(path)
}

/// Puts a file there whole, or leaves what is there.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = options().create(true).truncate(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// To write a file, which has mode 0600 if it is made.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(unix)]
    options.mode(FILE);
    options
}

/// Makes sure that the names in a directory stay when the power fails.
#[cfg(unix)]
pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// NTFS keeps a journal of names, and a directory cannot be synced there.
#[cfg(not(unix))]
pub(super) fn sync_dir(_path: &Path) -> io::Result<()> {
    Ok(())
}
