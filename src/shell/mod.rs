//! Everything asynchronous: sockets, time, tasks.

pub mod bench;
pub mod clock;
pub mod config_file;
pub mod control_client;
pub mod control_task;
pub mod daemon;
pub mod dial;
pub mod discover;
pub mod log;
pub mod moderation;
pub mod nbd_bind;
pub mod nbd_client;
pub mod nbd_listen;
pub mod room;
pub mod state;
pub mod stream;
pub mod sys;
mod talk;
pub mod uplink;
pub mod volume_task;
