//! Between a client and its process: messages to stdin, stdout to messages, stderr to ours.

use std::{io, pin::pin, time::Duration};

use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use sockeye::{CloseCode, CloseFrame, Closed, Message, Reader, WebSocket, Writer};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{ChildStderr, ChildStdin, ChildStdout},
    time::timeout,
};
use tokio_util::codec::{AnyDelimiterCodec, AnyDelimiterCodecError, FramedRead};

use super::{
    clients::Name,
    process::{Process, ProcessEnd},
    screen::Screen,
};

/// How long a process may go on after its client has closed: to answer what it has read. The client waits for
/// the Close meanwhile, which the library holds for a second.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// How much of the output becomes one binary message, in bytes.
const CHUNK: usize = 64 << 10;

/// The longest line of a stderr that is passed on in one piece, in bytes.
const COMPLAINT: u64 = 64 << 10;

/// How it is passed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct PumpOptions {
    /// As bytes, with no regard to lines.
    pub(super) binary: bool,
    pub(super) max_message: usize,
    pub(super) write_timeout: Duration,
    /// How long a process may take nothing of what has come.
    pub(super) read_timeout: Option<Duration>,
    pub(super) kill_after: Duration,
}

/// Passes on what comes, either way, until the client or the process ends, and ends the other.
pub(super) async fn pump(
    socket: WebSocket,
    mut process: Process,
    name: Name,
    screen: &Screen,
    options: PumpOptions,
) -> Closed {
    let (mut reader, writer) = socket.split();
    reader.hold_close();
    let child = &mut process.child;
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let complaining = tokio::spawn(complain(stderr, name, screen.clone()));
    let ended = {
        let mut sending = pin!(send(stdout, &writer, options));
        let mut feeding = pin!(feed(&mut reader, stdin, options));
        let mut is_silent = false;
        let first = loop {
            tokio::select! {
                // What it has written before it ended comes first.
                biased;
                sent = &mut sending, if !is_silent => match sent {
                    Ok(()) => is_silent = true,
                    Err(wrong) => break Ended::Output(wrong),
                },
                status = process.child.wait() => break Ended::Process(status),
                ended = &mut feeding => break ended,
            }
        };
        match first {
            // Another process may have its stdout, and go on.
            Ended::Process(status) if !is_silent => match timeout(LAST_ANSWERS, sending).await {
                Ok(Err(wrong)) => Ended::Output(wrong),
                Ok(Ok(())) | Err(_) => Ended::Process(status),
            },
            Ended::Client => {
                let answers = async {
                    let sent = if is_silent { Ok(()) } else { sending.await };
                    if sent.is_ok() {
                        let _ = process.child.wait().await;
                    }
                };
                let _ = timeout(LAST_ANSWERS, answers).await;
                Ended::Client
            }
            ended => ended,
        }
    };
    let closed = close(writer, ended.close(name, screen));
    let (closed, ()) = tokio::join!(closed, process.end(options.kill_after));
    // What it has said last stands before its end.
    let _ = timeout(LAST_ANSWERS, complaining).await;
    closed
}

/// Ends the connection with this Close; without one, at once.
async fn close(writer: Writer, close: Option<CloseFrame>) -> Closed {
    match close {
        Some(close) => writer.close(close).await,
        None => {
            writer.abort();
            writer.ended().await
        }
    }
}

/// What has ended first.
enum Ended {
    Client,
    /// The process reads nothing.
    Stuck,
    Process(io::Result<std::process::ExitStatus>),
    Output(Wrong),
}

/// What is wrong with the output of a process.
#[derive(Debug)]
enum Wrong {
    NotText,
    TooLong(usize),
    Failed(io::Error),
    /// The client takes nothing of it.
    Slow,
    /// The connection has ended.
    Gone,
}

impl Ended {
    /// How the connection is closed; `None` cuts it off.
    fn close(self, name: Name, screen: &Screen) -> Option<CloseFrame> {
        let failed = |why: String| {
            Some(
                CloseFrame::new(CloseCode::INTERNAL_ERROR, why)
                    .unwrap_or(CloseCode::INTERNAL_ERROR.into()),
            )
        };
        let why = match self {
            Self::Client | Self::Output(Wrong::Gone) => return Some(CloseCode::NORMAL.into()),
            Self::Process(Ok(status)) if status.success() => return Some(CloseCode::NORMAL.into()),
            Self::Process(Ok(status)) => return failed(ProcessEnd(status).to_string()),
            Self::Process(Err(error)) | Self::Output(Wrong::Failed(error)) => {
                screen.warn(format_args!("{name} the process cannot be read: {error}"));
                return failed("the process cannot be read".to_owned());
            }
            Self::Output(Wrong::Slow) => {
                screen.warn(format_args!("{name} reads too slowly: cut off"));
                return None;
            }
            Self::Stuck => "the process reads nothing: see --read-timeout".to_owned(),
            Self::Output(Wrong::NotText) => {
                "a line of the process is not UTF-8: --binary sends bytes".to_owned()
            }
            Self::Output(Wrong::TooLong(max)) => {
                format!("a line of the process has more than {max} bytes: see --max-message")
            }
        };
        screen.warn(format_args!("{name} {why}"));
        failed(why)
    }
}

/// Writes messages to the stdin of a process, a line each or as they are, until the client has closed. Nothing is
/// read from the client while the process reads nothing: whether it is still there does not show, so that this
/// has a bound.
async fn feed(reader: &mut Reader, stdin: Option<ChildStdin>, options: PumpOptions) -> Ended {
    let mut stdin = stdin;
    let end: &[u8] = if options.binary { b"" } else { b"\n" };
    // How it ended is told later.
    while let Some(Ok(message)) = reader.recv().await {
        let mut bytes = message.into_bytes().chain(end);
        while let Some(pipe) = &mut stdin
            && bytes.has_remaining()
        {
            let written = pipe.write_buf(&mut bytes);
            match timeout(options.read_timeout.unwrap_or(Duration::MAX), written).await {
                Ok(Ok(_)) => {}
                // A process that has closed its stdin may go on to write.
                Ok(Err(_)) => stdin = None,
                Err(_) => return Ended::Stuck,
            }
        }
    }
    Ended::Client
}

/// Sends what a process writes, until it has closed its stdout.
async fn send(
    stdout: Option<ChildStdout>,
    writer: &Writer,
    options: PumpOptions,
) -> Result<(), Wrong> {
    let Some(mut stdout) = stdout else { return Ok(()) };
    if options.binary {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            match stdout.read_buf(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(_) => {
                    send_one(writer, Message::binary(buffer.split().freeze()), options).await?
                }
                Err(error) => return Err(Wrong::Failed(error)),
            }
        }
    }
    let mut lines = lines(stdout, options.max_message);
    while let Some(line) = lines.next().await {
        let line = line.map_err(|error| match error {
            AnyDelimiterCodecError::MaxChunkLengthExceeded => Wrong::TooLong(options.max_message),
            AnyDelimiterCodecError::Io(error) => Wrong::Failed(error),
        })?;
        let line = String::from_utf8(without_cr(&line).to_vec()).map_err(|_| Wrong::NotText)?;
        send_one(writer, Message::text(line), options).await?;
    }
    Ok(())
}

async fn send_one(writer: &Writer, message: Message, options: PumpOptions) -> Result<(), Wrong> {
    match timeout(options.write_timeout, writer.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Wrong::Gone),
        Err(_) => Err(Wrong::Slow),
    }
}

/// Passes on what a process says on its stderr; of a line that is too long, piece by piece.
async fn complain(stderr: Option<ChildStderr>, name: Name, screen: Screen) {
    let Some(stderr) = stderr else { return };
    let (mut input, mut line) = (BufReader::new(stderr), Vec::new());
    while let Ok(1..) = (&mut input).take(COMPLAINT).read_until(b'\n', &mut line).await {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        screen.said(name, without_cr(text)).await;
        line.clear();
    }
}

/// The lines of an output, without their ends; one longer than `max` is an error.
fn lines<R: AsyncRead>(output: R, max: usize) -> FramedRead<R, AnyDelimiterCodec> {
    FramedRead::new(output, AnyDelimiterCodec::new_with_max_length(b"\n".to_vec(), Vec::new(), max))
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}
