//! The client against a server whose every byte is written down here.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use super::*;

const GO_REPLIES: &[u8] = &[
    // INFO_EXPORT: 1 MiB, flags HAS_FLAGS | FLUSH | FUA
    0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 12, //
    0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0x0d, //
    // INFO_BLOCK_SIZE: 512, 4096, 32 MiB
    0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, 0, 0, 0, 7, 0, 0, 0, 3, 0, 0, 0, 14, //
    0, 3, 0, 0, 2, 0, 0, 0, 0x10, 0, 2, 0, 0, 0, //
    // ACK
    0x00, 0x03, 0xe8, 0x89, 0x04, 0x55, 0x65, 0xa9, 0, 0, 0, 7, 0, 0, 0, 1, 0, 0, 0, 0,
];

async fn take(stream: &mut UnixStream, expected: &[u8]) {
    let mut got = vec![0; expected.len()];
    stream.read_exact(&mut got).await.unwrap();
    assert_eq!(got, expected);
}

/// Serves one handshake; returns the connection at the beginning of the transmission phase.
async fn accept(listener: &UnixListener, structured: bool) -> UnixStream {
    let (mut stream, _) = listener.accept().await.unwrap();
    stream.write_all(b"NBDMAGICIHAVEOPT\x00\x03").await.unwrap();
    take(&mut stream, &[0, 0, 0, 3]).await;
    if structured {
        take(&mut stream, b"IHAVEOPT\x00\x00\x00\x08\x00\x00\x00\x00").await;
        let ack = b"\x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x08\0\0\0\x01\0\0\0\0";
        stream.write_all(ack).await.unwrap();
    }
    let go = b"IHAVEOPT\0\0\0\x07\0\0\0\x0a\0\0\0\x02db\0\x01\0\x03";
    take(&mut stream, go).await;
    stream.write_all(GO_REPLIES).await.unwrap();
    stream
}

fn listen(structured: bool) -> (tempfile::TempDir, UnixListener, ClientConfig) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let config = ClientConfig {
        export: "db".to_owned(),
        structured_replies: structured,
        ..ClientConfig::new(Address::Unix(path))
    };
    (directory, listener, config)
}

#[tokio::test]
async fn simple_replies_may_come_in_any_order() {
    let (_directory, listener, config) = listen(false);
    let server = tokio::spawn(async move {
        let mut stream = accept(&listener, false).await;
        let read = b"\x25\x60\x95\x13\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x02\0\0\0\0\x03";
        let write = b"\x25\x60\x95\x13\0\x01\0\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\x04\0\0\0\0\x02hi";
        take(&mut stream, read).await;
        take(&mut stream, write).await;
        let replies = b"\x67\x44\x66\x98\0\0\0\x05\0\0\0\0\0\0\0\x01\
                        \x67\x44\x66\x98\0\0\0\0\0\0\0\0\0\0\0\0abc";
        stream.write_all(replies).await.unwrap();
        let disconnect = b"\x25\x60\x95\x13\0\0\0\x02";
        take(&mut stream, disconnect).await;
    });
    let client = Client::connect(config).await.unwrap();
    assert_eq!(client.export().size, 1 << 20);
    assert_eq!(client.export().block_size_min, 512);
    assert!(client.export().can_fua() && client.export().can_flush());
    assert!(!client.export().can_trim());
    let (read, write) = tokio::join!(
        client.read(512, 3),
        client.write(1024, Bytes::from_static(b"hi"), true)
    );
    assert_eq!(read.unwrap(), "abc");
    assert_eq!(write, Err(IoError::Errno(5)));
    drop(client);
    server.await.unwrap();
}

#[tokio::test]
async fn structured_chunks_are_put_together_and_must_cover_the_request() {
    let (_directory, listener, config) = listen(true);
    tokio::spawn(async move {
        let mut stream = accept(&listener, true).await;
        stream.read_exact(&mut [0; 28]).await.unwrap();
        let chunks = b"\x66\x8e\x33\xef\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0\x0a\0\0\0\0\0\0\0\x05yz\
                       \x66\x8e\x33\xef\0\0\0\x02\0\0\0\0\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\x03\0\0\0\x02\
                       \x66\x8e\x33\xef\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
        stream.write_all(chunks).await.unwrap();
        stream.read_exact(&mut [0; 28]).await.unwrap();
        let error = b"\x66\x8e\x33\xef\0\x01\x80\x01\0\0\0\0\0\0\0\x01\0\0\0\x06\0\0\0\x16\0\0";
        stream.write_all(error).await.unwrap();
        stream.read_exact(&mut [0; 28]).await.unwrap();
        let short = b"\x66\x8e\x33\xef\0\x01\0\x01\0\0\0\0\0\0\0\x02\0\0\0\x09\0\0\0\0\0\0\0\0z";
        stream.write_all(short).await.unwrap();
        stream.read(&mut [0]).await
    });
    let client = Client::connect(config).await.unwrap();
    assert_eq!(client.read(3, 4).await.unwrap(), &b"\0\0yz"[..]);
    assert_eq!(client.read(0, 4).await, Err(IoError::Errno(22)));
    let uncovered = client.read(0, 4).await.unwrap_err();
    assert!(uncovered.to_string().contains("cover"), "{uncovered}");
    let closed = client.flush().await.unwrap_err();
    assert!(matches!(closed, IoError::Lost(_)), "{closed}");
}

#[tokio::test]
async fn requests_in_flight_are_sent_again_after_a_reconnect() {
    let (_directory, listener, mut config) = listen(false);
    config.reconnect_for = Duration::from_secs(10);
    tokio::spawn(async move {
        let mut stream = accept(&listener, false).await;
        stream.read_exact(&mut [0; 28 + 2]).await.unwrap();
        drop(stream);
        let mut stream = accept(&listener, false).await;
        let mut again = [0; 28 + 2];
        stream.read_exact(&mut again).await.unwrap();
        assert_eq!(&again[28..], b"hi");
        let reply = [b"\x67\x44\x66\x98\0\0\0\0", &again[8..16]].concat();
        stream.write_all(&reply).await.unwrap();
        stream.read(&mut [0]).await
    });
    let client = Client::connect(config).await.unwrap();
    let wrote = client.write(0, Bytes::from_static(b"hi"), false).await;
    assert_eq!(wrote, Ok(()));
    assert_eq!(client.reconnects(), 1);
}

#[tokio::test]
async fn an_export_that_does_not_exist_is_named_in_the_error() {
    let (_directory, listener, config) = listen(false);
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let hello = b"NBDMAGICIHAVEOPT\x00\x03";
        stream.write_all(hello).await.unwrap();
        stream.read_exact(&mut [0; 4 + 26]).await.unwrap();
        let unknown = b"\x00\x03\xe8\x89\x04\x55\x65\xa9\0\0\0\x07\x80\0\0\x06\0\0\0\x05no db";
        stream.write_all(unknown).await.unwrap();
        stream.read(&mut [0; 16]).await
    });
    let error = Client::connect(config).await.unwrap_err().to_string();
    assert!(error.contains("no db"), "{error}");
}
