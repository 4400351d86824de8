//! SCSI: commands, sense data, inquiry pages, access states, and what an answer means.
