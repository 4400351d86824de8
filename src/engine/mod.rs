//! The assembly of one volume: NBD connections, the volume and its paths as one sans-IO machine.
