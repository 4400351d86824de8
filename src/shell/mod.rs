//! Everything asynchronous: sockets, time, tasks.
