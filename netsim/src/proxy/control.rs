//! The control socket of a proxy: one line in, an answer out, over a unix socket.
//!
//! A request is the text of a [`Fault`], with `for TIME` at its end if it is to be healed after
//! that time, and `every TIME times N` after that if it is to come again; or `status`. The answer's
//! first line is `ok` or `error: ...`.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::{Flapping, ProxyHandle};
use crate::fault::Fault;
use crate::link::Held;
use crate::quantity::parse_duration;

/// Longest request; the connection is closed above.
const REQUEST_MAX: u64 = 1024;
const ANSWER_MAX: u64 = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(5);

/// The control socket of a name: the name itself if it is a path, else a socket in the user's
/// runtime directory.
#[must_use]
pub fn socket_path(name: &str) -> PathBuf {
    if name.contains('/') {
        return PathBuf::from(name);
    }
    let base = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    base.join("netsim").join(format!("{name}.sock"))
}

/// Serves a proxy's control socket for ever. A socket left over at that place is replaced.
///
/// # Errors
/// If the socket cannot be bound.
pub async fn serve(proxy: ProxyHandle, path: &Path) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        // Whatever else stands there is in the way, and `bind` says so.
        Ok(_) | Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let proxy = proxy.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, &proxy).await {
                tracing::debug!(%error, "control connection");
            }
        });
    }
}

async fn answer(mut stream: UnixStream, proxy: &ProxyHandle) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut lines = BufReader::new(read.take(REQUEST_MAX));
    tokio::time::timeout(TIMEOUT, lines.read_line(&mut line)).await??;
    let answer = match carry_out(line.trim(), proxy) {
        Ok(text) => format!("ok\n{text}"),
        Err(error) => format!("error: {error}\n"),
    };
    write.write_all(answer.as_bytes()).await?;
    write.shutdown().await
}

fn carry_out(line: &str, proxy: &ProxyHandle) -> Result<String, String> {
    if line == "status" {
        return Ok(format!("path: {}\n{}", proxy.path(), proxy.statistics()));
    }
    let (line, again) = match line.split_once(" every ") {
        Some((line, again)) => (line, Some(again)),
        None => (line, None),
    };
    let (fault, lasts) = match line.rsplit_once(" for ") {
        Some((fault, time)) => (fault, Some(duration(time)?)),
        None => (line, None),
    };
    let fault: Fault = fault
        .parse()
        .map_err(|error: crate::fault::FaultError| error.to_string())?;
    match (lasts, again) {
        (None, None) => proxy.set(&fault),
        (Some(lasts), None) => proxy.set_for(&fault, lasts, Held::Release),
        (Some(lasts), Some(again)) => proxy.flap(&fault, flapping(lasts, again)?),
        (None, Some(_)) => return Err("what comes again needs `for TIME`".to_owned()),
    }
    Ok(proxy.statistics().to_string())
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration(text.trim()).map_err(|error| error.to_string())
}

/// `TIME times N`.
fn flapping(lasts: Duration, again: &str) -> Result<Flapping, String> {
    let (every, times) = again
        .split_once(" times ")
        .ok_or("`every TIME` needs `times N`")?;
    let every = duration(every)?;
    let times = times.trim().parse();
    let times = times.map_err(|_| "`times` needs a whole number")?;
    if every < lasts {
        return Err("`every` is shorter than `for`".to_owned());
    }
    Ok(Flapping {
        lasts,
        every,
        times,
    })
}

/// Sends one request to the control socket at `path` and returns the answer without its first line.
///
/// # Errors
/// If the socket cannot be reached, or with the proxy's own message if it refused.
pub async fn request(path: &Path, line: &str) -> io::Result<String> {
    let exchange = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(format!("{line}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.take(ANSWER_MAX).read_to_string(&mut answer).await?;
        Ok::<_, io::Error>(answer)
    };
    let answer = tokio::time::timeout(TIMEOUT, exchange).await??;
    match answer.split_once('\n') {
        Some(("ok", rest)) => Ok(rest.to_owned()),
        _ => Err(io::Error::other(answer.trim_end().to_owned())),
    }
}
