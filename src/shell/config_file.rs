//! Reading the configuration and the files that it names.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::config::show::Effective;
use crate::config::{Config, ConfigErrors, FileContent, Files, Problem};
use crate::limits::CONFIG_BYTES_MAX;

/// Reads and checks a configuration file. It need not be a regular file: a pipe is fine.
///
/// # Errors
/// Every mistake in it.
pub fn load(file: &Path) -> Result<Config, ConfigErrors> {
    let text = read_text(file).map_err(|problem| ConfigErrors::of_file(file, problem))?;
    Config::parse(&text, file, &SystemFiles)
}

/// The same, with where each value comes from.
///
/// # Errors
/// Every mistake in it.
pub fn explain(file: &Path) -> Result<Effective, ConfigErrors> {
    let text = read_text(file).map_err(|problem| ConfigErrors::of_file(file, problem))?;
    Effective::parse(&text, file, &SystemFiles)
}

fn read_text(file: &Path) -> Result<String, Problem> {
    let unreadable = |error: io::Error| Problem::Unreadable(error.kind());
    let opened = File::open(file).map_err(unreadable)?;
    let content = read_at_most(opened, CONFIG_BYTES_MAX + 1).map_err(unreadable)?;
    if content.len() > CONFIG_BYTES_MAX {
        return Err(Problem::FileTooLarge(CONFIG_BYTES_MAX));
    }
    String::from_utf8(content).map_err(|_| Problem::NotUtf8)
}

fn read_at_most(file: File, limit: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let limit = u64::try_from(limit).unwrap_or(u64::MAX);
    file.take(limit).read_to_end(&mut content)?;
    Ok(content)
}

/// The machine's files.
#[derive(Clone, Copy, Debug)]
pub struct SystemFiles;

impl Files for SystemFiles {
    fn read(&self, file: &Path, limit: usize) -> Result<FileContent, io::ErrorKind> {
        // Opening a pipe would wait for its writer.
        let metadata = fs::metadata(file).map_err(|error| error.kind())?;
        let bytes = if metadata.is_file() {
            let opened = File::open(file).map_err(|error| error.kind())?;
            read_at_most(opened, limit).map_err(|error| error.kind())?
        } else {
            Vec::new()
        };
        Ok(FileContent {
            regular: metadata.is_file(),
            mode: metadata.mode(),
            owner: metadata.uid(),
            bytes,
        })
    }

    fn user(&self) -> u32 {
        nix::unistd::geteuid().as_raw()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use tempfile::TempDir;

    const TEXT: &str = r#"
[daemon]
initiator_name = "iqn.2026-11.com.example:db1"

[[volume]]
name   = "db"
target = "iqn.2003-01.com.example:array1"
lun    = 1
auth   = "array1"
export = { nbd = "unix:/run/iiblockdaemon/db.sock" }
paths  = [{ portal = "10.0.1.10" }]

[auth.array1]
username    = "db1"
secret_file = "array1.secret"
"#;

    #[test]
    fn a_configuration_is_read_with_the_secret_beside_it() {
        let directory = TempDir::new().unwrap();
        let (file, secret) = (
            directory.path().join("m.toml"),
            directory.path().join("array1.secret"),
        );
        fs::write(&file, TEXT).unwrap();
        fs::write(&secret, "correct horse\n").unwrap();
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
        let config = load(&file).unwrap();
        let auth = config.volumes[0].auth.as_ref().unwrap();
        assert_eq!(auth.secret.expose(), b"correct horse");
        fs::set_permissions(&secret, fs::Permissions::from_mode(0o644)).unwrap();
        let error = load(&file).unwrap_err().to_string();
        assert!(
            error.contains("m.toml:15: auth.array1.secret_file: others than its owner"),
            "{error}"
        );
        fs::remove_file(&secret).unwrap();
        nix::unistd::mkfifo(&secret, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let error = load(&file).unwrap_err().to_string();
        assert!(error.contains("it does not name a regular file"), "{error}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_one_clear_message() {
        let error = load(Path::new("/nowhere/multipath.toml")).unwrap_err();
        let expected = "/nowhere/multipath.toml: cannot read the file: no such file";
        assert_eq!(error.to_string(), expected);
        let directory = TempDir::new().unwrap();
        let file = directory.path().join("multipath.toml");
        fs::write(&file, [0xff, 0xfe]).unwrap();
        assert!(
            load(&file)
                .unwrap_err()
                .to_string()
                .ends_with("not UTF-8 text")
        );
        fs::write(&file, vec![b'#'; CONFIG_BYTES_MAX + 1]).unwrap();
        assert!(
            load(&file)
                .unwrap_err()
                .to_string()
                .contains("is larger than 1048576 bytes")
        );
    }
}
