//! Everything asynchronous: sockets, time, tasks.

pub mod client_socket;
pub mod clock;
pub mod nbd_bind;
pub mod nbd_listen;
