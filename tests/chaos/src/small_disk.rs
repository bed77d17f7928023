//! A file system of a few megabytes, to be full at a word. Only root can make one.

use std::ffi::CString;
use std::io::{ErrorKind, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

const BALLAST: &str = "ballast";

/// A mounted file system, gone with its handle.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one on a new folder; `None`: this user may not.
    ///
    /// # Errors
    /// When it cannot be made for another reason.
    pub fn mount(folder: &Path, bytes: u64) -> Result<Option<Self>> {
        std::fs::create_dir_all(folder)?;
        let target = CString::new(folder.as_os_str().as_bytes())?;
        let options = CString::new(format!("size={bytes}"))?;
        // SAFETY: a plain system call with texts that live during it.
        let mounted =
            unsafe { libc::mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, options.as_ptr().cast()) };
        let error = std::io::Error::last_os_error();
        match mounted {
            0 => Ok(Some(Self { folder: folder.to_owned() })),
            _ if error.kind() == ErrorKind::PermissionDenied => Ok(None),
            _ => bail!("no small disk on {}: {error}", folder.display()),
        }
    }

    /// Takes all space that is left.
    ///
    /// # Errors
    /// Any other failure than that nothing is left.
    pub fn fill(&self) -> Result<()> {
        let mut ballast = std::fs::File::create(self.folder.join(BALLAST))?;
        loop {
            match ballast.write(&[0; 4096]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives it back.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn make_room(&self) -> Result<()> {
        Ok(std::fs::remove_file(self.folder.join(BALLAST))?)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Ok(target) = CString::new(self.folder.as_os_str().as_bytes()) {
            // SAFETY: as above. Detached at once; it goes when the last file in it is closed.
            unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) };
        }
    }
}
