//! Writes the log: a buffer of bounded size, and a thread of its own that empties it into stderr.
//!
//! A task that logs puts a line into the buffer and goes on, whatever stderr does. When stderr takes
//! nothing, because its reader stands still or is gone, the buffer fills up, further lines are lost,
//! and each is counted.
//!
//! `tracing-appender` has a writer like this one, but bounds the number of lines and not their length,
//! and prints its own errors with `println!`, which panics when stdout is closed.

use std::{
    io::{self, Write},
    mem,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use super::line::{Form, clean};

/// How long the end of the program waits for the lines that are still to be written.
const LAST_LINES: Duration = Duration::from_millis(500);

/// How long to wait when stderr is a non-blocking file that takes nothing now.
const PAUSE: Duration = Duration::from_millis(20);

/// Puts lines into the buffer. Clones share it. Each `write` is one line, and succeeds.
#[derive(Debug, Clone)]
pub(super) struct LogWriter {
    queue: Arc<Queue>,
    form: Form,
}

/// Waits a moment, when dropped, for the lines that were logged before.
#[derive(Debug)]
#[must_use = "dropping it waits for the log's last lines"]
pub(super) struct LogGuard(Arc<Queue>);

#[derive(Debug)]
struct Queue {
    buffer: Mutex<Buffer>,
    changed: Condvar,
    /// The most bytes that wait; as many again may be in the hands of the thread.
    capacity: usize,
    /// Lines lost since the start.
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Buffer {
    bytes: Vec<u8>,
    is_writing: bool,
}

impl LogWriter {
    /// Starts the thread that writes to `out`. `lost` counts the lines that cannot be written.
    ///
    /// # Errors
    ///
    /// When the system has no thread left.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        form: Form,
        capacity: usize,
        lost: Arc<AtomicU64>,
    ) -> io::Result<(Self, LogGuard)> {
        let queue =
            Arc::new(Queue { buffer: Mutex::default(), changed: Condvar::new(), capacity, lost });
        let of_thread = Arc::clone(&queue);
        thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write_to(out))?;
        Ok((Self { queue: Arc::clone(&queue), form }, LogGuard(queue)))
    }
}

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.queue.push(&clean(line, self.form));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Queue {
    fn push(&self, line: &[u8]) {
        let mut buffer = self.lock();
        if buffer.bytes.len() + line.len() > self.capacity {
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        buffer.bytes.extend_from_slice(line);
        drop(buffer);
        self.changed.notify_all();
    }

    /// Writes what is in the buffer to `out`, for ever. What cannot be written is lost.
    fn write_to(&self, mut out: impl Write) {
        let (mut batch, mut told) = (Vec::new(), 0);
        loop {
            self.take(&mut batch);
            let unwritten = &batch[write(&mut out, &batch)..];
            let lines = unwritten.iter().filter(|byte| **byte == b'\n').count();
            self.lost.fetch_add(lines as u64, Relaxed);
            let lost = self.lost.load(Relaxed);
            if lines == 0 && lost > told {
                tracing::error!(
                    target: "sockeye::log",
                    lines = lost - mem::replace(&mut told, lost),
                    "lines of the log are lost: stderr did not take them"
                );
            }
            batch.clear();
        }
    }

    /// Waits until there is something to write, and takes it in exchange for an empty buffer.
    fn take(&self, batch: &mut Vec<u8>) {
        let mut buffer = self.lock();
        buffer.is_writing = false;
        self.changed.notify_all();
        while buffer.bytes.is_empty() {
            buffer = self.changed.wait(buffer).unwrap_or_else(PoisonError::into_inner);
        }
        mem::swap(&mut buffer.bytes, batch);
        buffer.is_writing = true;
    }

    fn lock(&self) -> MutexGuard<'_, Buffer> {
        // Whole between any two statements, so that a panic elsewhere is no reason to stop.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let is_busy = |buffer: &mut Buffer| buffer.is_writing || !buffer.bytes.is_empty();
        // Whether it was in time makes no difference any more.
        drop(self.0.changed.wait_timeout_while(self.0.lock(), LAST_LINES, is_busy));
    }
}

/// Writes the bytes, and gives how many of them `out` took before it failed.
fn write(out: &mut impl Write, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match out.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(PAUSE),
            Err(_) => break,
        }
    }
    written
}
