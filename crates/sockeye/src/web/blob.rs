//! Bytes that need not be in memory: a blob, as the File API has it.

use std::{
    fmt, io,
    ops::Range,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, Take},
};
use tokio_util::io::poll_read_buf;

/// How much of a file is read at once.
const CHUNK: usize = 64 << 10;

/// Immutable bytes in memory, or in a file that is read only when they are needed.
///
/// ```no_run
/// # async fn example(socket: sockeye::web::WebSocket) -> Result<(), Box<dyn std::error::Error>> {
/// use sockeye::web::Blob;
///
/// socket.send(Blob::from_file("film.mp4").await?)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Blob {
    source: Source,
}

#[derive(Debug, Clone)]
enum Source {
    Bytes(Bytes),
    File { path: Arc<Path>, range: Range<u64> },
}

impl Blob {
    /// A blob of bytes in memory.
    pub fn new(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Bytes(bytes.into()) }
    }

    /// A blob of what a file holds now. Its contents are read later, piece by piece; should the file
    /// be gone or shorter by then, reading fails.
    ///
    /// # Errors
    ///
    /// When there is no such file.
    pub async fn from_file(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        let size = tokio::fs::metadata(&path).await?.len();
        Ok(Self { source: Source::File { path: path.into(), range: 0..size } })
    }

    /// How many bytes it has.
    pub fn size(&self) -> u64 {
        match &self.source {
            Source::Bytes(bytes) => bytes.len() as u64,
            Source::File { range, .. } => range.end - range.start,
        }
    }

    /// A part of it, without copying. What lies behind the end is left out.
    pub fn slice(&self, range: Range<u64>) -> Self {
        let end = range.end.min(self.size());
        let start = range.start.min(end);
        let source = match &self.source {
            // The numbers are at most the length.
            Source::Bytes(bytes) => Source::Bytes(bytes.slice(start as usize..end as usize)),
            Source::File { path, range: Range { start: first, .. } } => {
                Source::File { path: path.clone(), range: first + start..first + end }
            }
        };
        Self { source }
    }

    /// All its bytes.
    ///
    /// # Errors
    ///
    /// When its file cannot be read, or is shorter than it was.
    pub async fn bytes(&self) -> io::Result<Bytes> {
        let mut reader = match self.clone().into_contents() {
            Contents::Bytes(bytes) => return Ok(bytes),
            Contents::File(reader) => reader,
        };
        let mut all = BytesMut::new();
        while let Some(chunk) = std::future::poll_fn(|cx| reader.poll_chunk(cx)).await? {
            all.extend_from_slice(&chunk);
        }
        Ok(all.freeze())
    }

    pub(super) fn into_contents(self) -> Contents {
        match self.source {
            Source::Bytes(bytes) => Contents::Bytes(bytes),
            Source::File { path, range } => Contents::File(FileReader::new(path, range)),
        }
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self::new(bytes)
    }
}

/// A blob about to be sent.
pub(super) enum Contents {
    Bytes(Bytes),
    File(FileReader),
}

/// Reads a file piece by piece.
pub(super) struct FileReader {
    file: Opening,
    left: u64,
}

enum Opening {
    Opening(Pin<Box<dyn Future<Output = io::Result<Take<File>>> + Send>>),
    Open(Take<File>),
}

impl FileReader {
    fn new(path: Arc<Path>, range: Range<u64>) -> Self {
        let left = range.end - range.start;
        let opening = async move {
            let mut file = File::open(path).await?;
            file.seek(io::SeekFrom::Start(range.start)).await?;
            Ok(file.take(left))
        };
        Self { file: Opening::Opening(Box::pin(opening)), left }
    }

    /// How many bytes are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next bytes; `None` at the end.
    pub(super) fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let file = loop {
            match &mut self.file {
                Opening::Open(file) => break file,
                Opening::Opening(opening) => {
                    let file = ready!(opening.as_mut().poll(cx))?;
                    self.file = Opening::Open(file);
                }
            }
        };
        if self.left == 0 {
            return Poll::Ready(Ok(None));
        }
        let mut chunk = BytesMut::with_capacity(CHUNK.min(self.left as usize));
        match ready!(poll_read_buf(Pin::new(file), cx, &mut chunk))? as u64 {
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            count => {
                self.left -= count;
                Poll::Ready(Ok(Some(chunk.freeze())))
            }
        }
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileReader").field("left", &self.left).finish_non_exhaustive()
    }
}
