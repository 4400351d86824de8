use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;

use super::*;
use crate::limits::NBD_HANDSHAKE_TIMEOUT;
use crate::nbd::{BlockSizes, ExportFlags};

const FIXED_NO_ZEROES: &[u8] = &[0, 0, 0, 3];
const EXPORT_NAME: &[u8] = b"IHAVEOPT\0\0\0\x01\0\0\0\0";
const ABORT: &[u8] = b"IHAVEOPT\0\0\0\x02\0\0\0\0";

struct Server {
    address: ListenAddress,
    clients: mpsc::Receiver<ReadyClient>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn serve(address: &ListenAddress) -> Server {
    let export = ExportInfo {
        name: "disk".to_owned(),
        description: String::new(),
        size: 1 << 20,
        block_sizes: BlockSizes::new(512, 4096).unwrap(),
        flags: ExportFlags::default(),
    };
    let bound = BoundListener::bind(address).unwrap();
    let address = bound.address().clone();
    let listener = NbdListener::new(bound).unwrap();
    let (sender, clients) = mpsc::channel(1);
    let stop = CancellationToken::new();
    let exports = Arc::new(Arc::new(vec![export]));
    let task = tokio::spawn(listener.run(exports, sender, stop.clone()));
    Server {
        address,
        clients,
        stop,
        task,
    }
}

fn serve_unix(path: &Path) -> Server {
    let path = path.to_owned();
    serve(&ListenAddress::Unix { path, mode: 0o600 })
}

/// Closed by the server: the end of the stream, or a reset if it did not read everything.
async fn assert_closed(client: &mut (impl AsyncReadExt + Unpin)) {
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest).await;
}

#[tokio::test]
async fn a_client_is_handed_over_with_what_it_sent_ahead() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let mut server = serve_unix(&path);
    let mut client = UnixStream::connect(&path).await.unwrap();
    let all = [FIXED_NO_ZEROES, EXPORT_NAME, b"request"].concat();
    client.write_all(&all).await.unwrap();
    let ready = server.clients.recv().await.unwrap();
    assert_eq!(ready.export.name, "disk");
    assert_eq!(&ready.leftover[..], b"request");
    assert!(!ready.structured_replies);
    let pid = format!("pid {} ", std::process::id());
    assert!(ready.peer.starts_with(&pid), "{}", ready.peer);
    let mut answer = [0; 18 + 10];
    client.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer[18..], b"\0\0\0\0\0\x10\0\0\0\x01");

    let stream = ready.socket.watch().unwrap();
    let mut queue = crate::out_queue::OutQueue::new();
    queue.push(bytes::Bytes::from_static(b"reply"));
    stream.write_all(&mut queue).await.unwrap();
    let mut reply = [0; 5];
    client.read_exact(&mut reply).await.unwrap();
    assert_eq!(&reply, b"reply");
}

#[tokio::test]
async fn a_tcp_client_is_not_delayed_and_is_watched_while_idle() {
    let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let mut server = serve(&ListenAddress::Tcp(any_port));
    let ListenAddress::Tcp(address) = server.address else {
        panic!("{:?}", server.address);
    };
    let mut client = TcpStream::connect(address).await.unwrap();
    let all = [FIXED_NO_ZEROES, EXPORT_NAME].concat();
    client.write_all(&all).await.unwrap();
    let ready = server.clients.recv().await.unwrap();
    assert_eq!(ready.peer, client.local_addr().unwrap().to_string());
    let UnwatchedStream::Tcp(socket) = ready.socket else {
        panic!("{:?}", ready.socket);
    };
    assert!(socket.nodelay().unwrap());
    assert!(SockRef::from(&socket).keepalive().unwrap());
}

#[tokio::test]
async fn a_client_that_only_asks_is_answered_and_closed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let _server = serve_unix(&path);
    let mut client = UnixStream::connect(&path).await.unwrap();
    let all = [FIXED_NO_ZEROES, ABORT].concat();
    client.write_all(&all).await.unwrap();
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).await.unwrap();
    assert_eq!(answer.len(), 18 + 20);
}

#[tokio::test(start_paused = true)]
async fn silent_clients_make_room_when_their_time_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let mut server = serve_unix(&path);
    let begun = clock::now();
    let mut silent = Vec::new();
    for _ in 0..NBD_HANDSHAKES_MAX {
        silent.push(UnixStream::connect(&path).await.unwrap());
    }
    let mut client = UnixStream::connect(&path).await.unwrap();
    let all = [FIXED_NO_ZEROES, EXPORT_NAME].concat();
    client.write_all(&all).await.unwrap();
    let ready = server.clients.recv().await.unwrap();
    assert_eq!(ready.export.name, "disk");
    assert!(
        clock::now() - begun >= NBD_HANDSHAKE_TIMEOUT,
        "it had to wait"
    );
    for mut client in silent {
        assert_closed(&mut client).await;
    }
}

#[tokio::test]
async fn stopping_removes_the_socket_and_drops_handshakes_under_way() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let server = serve_unix(&path);
    let mut client = UnixStream::connect(&path).await.unwrap();
    let mut greeting = [0; 18];
    client.read_exact(&mut greeting).await.unwrap();
    server.stop.cancel();
    server.task.await.unwrap();
    assert!(!path.exists());
    assert_closed(&mut client).await;
}

#[tokio::test]
async fn listening_ends_when_nobody_takes_the_clients() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let server = serve_unix(&path);
    drop(server.clients);
    server.task.await.unwrap();
    assert!(!path.exists());
}
