use std::net::{IpAddr, Ipv4Addr};

use super::*;

fn unix(path: &Path) -> ListenAddress {
    let path = path.to_owned();
    ListenAddress::Unix { path, mode: 0o640 }
}

fn message(address: &ListenAddress) -> String {
    BoundListener::bind(address).unwrap_err().to_string()
}

#[test]
fn the_socket_file_has_its_mode_and_goes_with_its_listener() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let bound = BoundListener::bind(&unix(&path)).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    UnixStream::connect(&path).unwrap();
    drop(bound);
    assert!(!path.exists());
}

#[test]
fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(
        path.exists(),
        "std leaves the file behind, as a crash would"
    );
    let bound = BoundListener::bind(&unix(&path)).unwrap();
    let refused = message(&unix(&path));
    assert!(
        refused.contains("another process is listening"),
        "{refused}"
    );
    UnixStream::connect(&path).expect("the first one still listens");
    drop(bound);
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("precious");
    fs::write(&path, "data").unwrap();
    let refused = message(&unix(&path));
    assert!(refused.contains("is not a socket"), "{refused}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn somebody_elses_socket_in_our_place_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("nbd.sock");
    let bound = BoundListener::bind(&unix(&path)).unwrap();
    fs::rename(&path, directory.path().join("moved")).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    drop(bound);
    assert!(path.exists());
    drop(other);
}

#[test]
fn what_is_wrong_with_a_path_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let refused = message(&unix(&directory.path().join("missing/nbd.sock")));
    assert!(refused.contains("missing does not exist"), "{refused}");
    let refused = message(&unix(&directory.path().join("x".repeat(200))));
    assert!(refused.contains("107 bytes"), "{refused}");
    fs::write(directory.path().join("file"), "").unwrap();
    let refused = message(&unix(&directory.path().join("file/nbd.sock")));
    assert!(refused.contains("file does not exist"), "{refused}");
}

#[test]
fn what_is_wrong_with_a_tcp_address_is_named() {
    let any_port = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
    let bound = BoundListener::bind(&ListenAddress::Tcp(any_port)).unwrap();
    let ListenAddress::Tcp(taken) = bound.address() else {
        panic!("{:?}", bound.address());
    };
    assert_ne!(taken.port(), 0, "the port that was chosen is told");
    let refused = message(&ListenAddress::Tcp(*taken));
    assert!(
        refused.contains("another process is listening"),
        "{refused}"
    );
    // TEST-NET-1 (RFC 5737).
    let foreign = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 10809);
    let refused = message(&ListenAddress::Tcp(foreign));
    assert!(
        refused.contains("no interface of this machine"),
        "{refused}"
    );
}
