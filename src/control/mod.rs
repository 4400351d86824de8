//! Requests and answers of the control socket, and their rendering.
