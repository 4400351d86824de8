use std::io::{Read, Write};
use std::os::unix::net::UnixStream as StdUnixStream;

use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::*;
use crate::control::report::samples::report;
use crate::shell::clock;
use crate::shell::control_client::{self, ControlClientError};

struct Fixed;

impl StatusSource for Fixed {
    async fn status(&self) -> Result<StatusReport, Refusal> {
        Ok(report())
    }

    async fn events(&self, volume: &str) -> Result<EventsReport, Refusal> {
        Ok(EventsReport {
            volume: volume.to_owned(),
            events: Vec::new(),
            paths: Vec::new(),
        })
    }

    async fn fail_back(&self, volume: &str) -> Result<(), Refusal> {
        assert_eq!(volume, "db");
        Ok(())
    }

    async fn reservation(
        &self,
        volume: &str,
        deed: ReservationDeed,
    ) -> Result<ReservationReport, Refusal> {
        assert_eq!(deed, ReservationDeed::Show);
        Ok(ReservationReport {
            volume: volume.to_owned(),
            key: None,
            reservation: None,
            registered: None,
            paths: Vec::new(),
            notes: Vec::new(),
        })
    }

    async fn reload(self: Arc<Self>, dry_run: bool) -> Result<ReloadReport, Refusal> {
        Ok(ReloadReport {
            file: "multipath.toml".to_owned(),
            dry_run,
            changes: Vec::new(),
            problems: Vec::new(),
        })
    }
}

struct Stuck;

impl StatusSource for Stuck {
    async fn status(&self) -> Result<StatusReport, Refusal> {
        std::future::pending().await
    }

    async fn events(&self, _volume: &str) -> Result<EventsReport, Refusal> {
        std::future::pending().await
    }

    async fn fail_back(&self, _volume: &str) -> Result<(), Refusal> {
        std::future::pending().await
    }

    async fn reservation(
        &self,
        _volume: &str,
        _deed: ReservationDeed,
    ) -> Result<ReservationReport, Refusal> {
        std::future::pending().await
    }

    async fn reload(self: Arc<Self>, _dry_run: bool) -> Result<ReloadReport, Refusal> {
        std::future::pending().await
    }
}

fn control(directory: &TempDir) -> Control {
    Control {
        socket: directory.path().join("run/control.sock"),
        group: None,
    }
}

/// Serves `source` while the blocking `client` runs.
async fn with_server<T: Send + 'static>(
    source: impl StatusSource,
    client: impl FnOnce(&Path) -> T + Send + 'static,
) -> T {
    let directory = TempDir::new().unwrap();
    let control = control(&directory);
    let socket = ControlSocket::bind(&control).unwrap();
    let stop = CancellationToken::new();
    let server = tokio::spawn(socket.serve(Arc::new(source), stop.clone()));
    let path = control.socket.clone();
    let result = spawn_blocking(move || client(&path)).await.unwrap();
    stop.cancel();
    server.await.unwrap().unwrap();
    assert!(
        !control.socket.exists(),
        "the socket's file goes with the daemon"
    );
    result
}

#[tokio::test]
async fn the_client_gets_the_report() {
    let report_got = with_server(Fixed, |socket| control_client::status(socket, None)).await;
    assert_eq!(report_got.unwrap(), report());
}

#[tokio::test]
async fn one_volume_can_be_asked_for_and_a_wrong_name_lists_the_right_ones() {
    let (one, none) = with_server(Fixed, |socket| {
        let one = control_client::status(socket, Some("db"));
        (one, control_client::status(socket, Some("bd")))
    })
    .await;
    assert_eq!(one.unwrap().volumes.len(), 1);
    let message = none.unwrap_err().to_string();
    assert_eq!(message, "there is no volume \"bd\"; there are: db");
}

#[tokio::test]
async fn nonsense_is_refused_and_the_next_client_is_served() {
    let (answers, after) = with_server(Fixed, |socket| {
        let mut answers = Vec::new();
        let endless = vec![b'x'; CONTROL_REQUEST_MAX * 2];
        for bytes in [
            &b"GET / HTTP/1.0\n\n"[..],
            b"",
            b"{\"version\":9}\n",
            &endless,
        ] {
            let mut stream = StdUnixStream::connect(socket).unwrap();
            let _closed_early = stream.write_all(bytes);
            let _closed_early = stream.shutdown(std::net::Shutdown::Write);
            let mut answer = Vec::new();
            let _reset = stream.read_to_end(&mut answer);
            answers.push(wire::decode_answer(&answer));
        }
        (answers, control_client::status(socket, None))
    })
    .await;
    let refused = |refusal| Ok(Answer::Refused(refusal));
    assert_eq!(answers[0], refused(Refusal::NotUnderstood));
    assert_eq!(answers[1], refused(Refusal::NotUnderstood));
    assert_eq!(
        answers[2],
        refused(Refusal::Version {
            daemon: wire::VERSION
        })
    );
    assert!(!matches!(answers[3], Ok(Answer::Status(_))));
    assert!(after.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_nothing_and_a_source_that_never_answers_are_given_up() {
    let (client, server) = UnixStream::pair().unwrap();
    let before = clock::now();
    let error = serve_client(server, &Arc::new(Fixed)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(clock::now() - before >= CONTROL_TIMEOUT);
    drop(client);

    let (mut client, server) = UnixStream::pair().unwrap();
    client
        .write_all(b"{\"version\":1,\"ask\":{\"status\":{}}}\n")
        .await
        .unwrap();
    serve_client(server, &Arc::new(Stuck)).await.unwrap();
    let mut line = Vec::new();
    client.read_to_end(&mut line).await.unwrap();
    assert_eq!(
        wire::decode_answer(&line),
        Ok(Answer::Refused(Refusal::Busy))
    );
}

#[tokio::test]
async fn the_socket_is_private_unless_a_group_is_named() {
    let directory = TempDir::new().unwrap();
    let mut control = control(&directory);
    let mode = |control: &Control| fs::metadata(&control.socket).unwrap().permissions().mode();
    let socket = ControlSocket::bind(&control).unwrap();
    assert_eq!(mode(&control) & 0o777, 0o600);
    drop(socket);
    control.group = Some("no such group".to_owned());
    let error = ControlSocket::bind(&control).unwrap_err().to_string();
    assert!(
        error.contains("there is no group \"no such group\""),
        "{error}"
    );
    let own = Group::from_gid(nix::unistd::getegid()).unwrap();
    control.group = own.map(|group| group.name);
    if control.group.is_some() {
        let socket = ControlSocket::bind(&control).unwrap();
        assert_eq!(mode(&control) & 0o777, 0o660);
        let second = ControlSocket::bind(&control).unwrap_err().to_string();
        assert!(
            second.contains("is the daemon already running?"),
            "{second}"
        );
        drop(socket);
    }
}

#[test]
fn without_a_daemon_the_client_says_what_to_look_at() {
    let error = control_client::status(Path::new("/nowhere/control.sock"), None).unwrap_err();
    assert!(matches!(error, ControlClientError::NoDaemon { .. }));
    assert!(
        error.to_string().contains("is iiblockdaemon running?"),
        "{error}"
    );
}

#[tokio::test]
async fn events_of_a_volume_are_told() {
    let told = with_server(Fixed, |socket| control_client::events(socket, "db")).await;
    assert_eq!(told.unwrap().volume, "db");
}

#[tokio::test]
async fn a_failback_is_done_and_said_to_be() {
    let done = with_server(Fixed, |socket| control_client::fail_back(socket, "db")).await;
    assert!(done.is_ok());
}
