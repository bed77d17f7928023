//! Copying what is durable while the store goes on, for a savepoint.

use std::io;
use std::path::Path;

use super::Store;
use crate::error::WriteError;
use crate::identity::Closed;
use crate::names;
use crate::savepoint::link;

impl Store {
    /// Copies everything through the last epoch into `target`, which is made, as a folder that ended cleanly, and
    /// answers that epoch. Files that are complete are linked where that is possible. It is a savepoint only after
    /// [`crate::savepoint::seal`]. A failure concerns the copy alone.
    ///
    /// # Errors
    /// A [`WriteError`] about the copy; [`WriteError::Io`] when the folder holds something already.
    pub fn copy_to(&self, target: &Path) -> Result<u64, WriteError> {
        let disk = &*self.folder.disk;
        let fail = |source| WriteError::Io { path: target.to_owned(), source };
        disk.create_dir(target).map_err(fail)?;
        if !disk.list(target).map_err(fail)?.is_empty() {
            return Err(fail(io::Error::other("the folder is not empty; name a new one")));
        }
        self.log.copy_to(&self.folder, target)?;
        self.outbox.copy_to(&self.folder, target)?;
        for snapshot in self.snapshots.iter().flatten() {
            link(disk, &snapshot.path, &names::within(target, &snapshot.path))?;
        }
        let plugins = self.folder.dir.join(names::PLUGINS);
        disk.create_dir(&target.join(names::PLUGINS)).map_err(fail)?;
        for name in disk.list(&plugins).map_err(fail)?.iter().filter(|name| !name.ends_with(names::TEMPORARY)) {
            link(disk, &plugins.join(name), &target.join(names::PLUGINS).join(name))?;
        }
        self.identity.write(disk, target, self.folder.store_id)?;
        let closed = Closed { last_epoch: self.last_epoch, log_end: self.log.end() };
        closed.write(disk, target, self.folder.store_id)?;
        Ok(self.last_epoch)
    }
}
