//! The names of a disk: as everybody sees them, and as they would be found after a power failure.

use std::collections::BTreeMap;
use std::io;
use std::path::{Component, Path};

use super::seeded::Seeded;

/// A file or directory, whatever it is called.
pub type NodeId = u64;

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Node {
    /// A file; its content is kept elsewhere.
    File(NodeId),
    /// A directory.
    Directory(NodeId),
}

type Names = BTreeMap<String, Node>;
type Directories = BTreeMap<NodeId, Names>;

/// The root directory.
const ROOT: NodeId = 0;

/// All names.
#[derive(Debug, Default)]
pub struct Tree {
    current: Directories,
    durable: Directories,
    unsynced: Vec<Change>,
    last_id: NodeId,
}

/// A change of names; those of one directory become durable in their order.
#[derive(Debug, Clone)]
enum Change {
    Link { directory: NodeId, name: String, node: Node },
    Unlink { directory: NodeId, name: String },
    Rename { from: (NodeId, String), to: (NodeId, String), node: Node },
}

impl Tree {
    /// What `path` stands for.
    pub fn find(&self, path: &Path) -> io::Result<Node> {
        let mut node = Node::Directory(ROOT);
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name.to_string_lossy(),
                Component::RootDir | Component::CurDir => continue,
                Component::ParentDir | Component::Prefix(_) => {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
            };
            let Node::Directory(id) = node else {
                return Err(io::ErrorKind::NotADirectory.into());
            };
            let names = self.current.get(&id);
            node = *names.and_then(|names| names.get(&*name)).ok_or(io::ErrorKind::NotFound)?;
        }
        Ok(node)
    }

    /// The directory `path`.
    pub fn find_directory(&self, path: &Path) -> io::Result<NodeId> {
        match self.find(path)? {
            Node::Directory(id) => Ok(id),
            Node::File(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    /// The names in a directory.
    pub fn names(&self, directory: NodeId) -> impl Iterator<Item = (&String, &Node)> {
        self.current.get(&directory).into_iter().flatten()
    }

    /// Makes a file of a name that must be free.
    pub fn make_file(&mut self, path: &Path) -> io::Result<NodeId> {
        let (directory, name) = self.place(path)?;
        let id = self.new_id();
        self.change(Change::Link { directory, name, node: Node::File(id) });
        Ok(id)
    }

    /// Makes a directory and those above it, durable at once.
    pub fn make_directories(&mut self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> =
            path.ancestors().take_while(|above| self.find(above).is_err()).collect();
        for path in missing.into_iter().rev() {
            self.make_directory(path)?;
            let (directory, _) = self.place(path)?;
            self.sync(directory);
        }
        self.find_directory(path).map(|_| ())
    }

    /// Makes one directory, if it is not there.
    pub fn make_directory(&mut self, path: &Path) -> io::Result<()> {
        if self.find(path).is_err() {
            let (directory, name) = self.place(path)?;
            let id = self.new_id();
            self.change(Change::Link { directory, name, node: Node::Directory(id) });
        }
        self.find_directory(path).map(|_| ())
    }

    /// Gives what is called `from` the name `to`.
    pub fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        match (node, self.find(to)) {
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => {}
            (_, Err(error)) => return Err(error),
            (Node::File(_), Ok(Node::File(_))) => {}
            (Node::File(_), Ok(Node::Directory(_))) => {
                return Err(io::ErrorKind::IsADirectory.into());
            }
            (Node::Directory(_), Ok(Node::File(_))) => {
                return Err(io::ErrorKind::NotADirectory.into());
            }
            (Node::Directory(_), Ok(Node::Directory(id))) => {
                if self.names(id).next().is_some() {
                    return Err(io::ErrorKind::DirectoryNotEmpty.into());
                }
            }
        }
        let (from, to) = (self.place(from)?, self.place(to)?);
        self.change(Change::Rename { from, to, node });
        Ok(())
    }

    /// Takes a file's name away.
    pub fn remove_file(&mut self, path: &Path) -> io::Result<()> {
        match self.find(path)? {
            Node::Directory(_) => Err(io::ErrorKind::IsADirectory.into()),
            Node::File(_) => self.unlink(path),
        }
    }

    /// Takes a directory's name away; all in it goes with it.
    pub fn remove_directory(&mut self, path: &Path) -> io::Result<()> {
        self.find_directory(path)?;
        self.unlink(path)
    }

    /// Makes the names in a directory durable.
    pub fn sync(&mut self, directory: NodeId) {
        for change in std::mem::take(&mut self.unsynced) {
            if change.directories().contains(&directory) {
                apply(&mut self.durable, &change);
            } else {
                self.unsynced.push(change);
            }
        }
    }

    /// The power fails: of each directory's unsynced changes the first few survive.
    pub fn crash(&mut self, seeded: &mut Seeded) {
        let unsynced = std::mem::take(&mut self.unsynced);
        let mut left: BTreeMap<NodeId, u64> = BTreeMap::new();
        for change in &unsynced {
            *left.entry(change.home()).or_default() += 1;
        }
        for count in left.values_mut() {
            *count = seeded.below(*count + 1);
        }
        for change in unsynced {
            if let Some(count) = left.get_mut(&change.home()).filter(|count| **count > 0) {
                *count -= 1;
                apply(&mut self.durable, &change);
            }
        }
        self.current = self.durable.clone();
    }

    fn unlink(&mut self, path: &Path) -> io::Result<()> {
        let (directory, name) = self.place(path)?;
        self.change(Change::Unlink { directory, name });
        Ok(())
    }

    fn place(&self, path: &Path) -> io::Result<(NodeId, String)> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let directory = self.find_directory(path.parent().unwrap_or(Path::new("")))?;
        Ok((directory, name.to_string_lossy().into_owned()))
    }

    fn change(&mut self, change: Change) {
        apply(&mut self.current, &change);
        self.unsynced.push(change);
    }

    fn new_id(&mut self) -> NodeId {
        self.last_id += 1;
        self.last_id
    }
}

impl Change {
    /// The directory in whose order it becomes durable.
    fn home(&self) -> NodeId {
        match self {
            Change::Link { directory, .. } | Change::Unlink { directory, .. } => *directory,
            Change::Rename { to, .. } => to.0,
        }
    }

    fn directories(&self) -> [NodeId; 2] {
        match self {
            Change::Link { directory, .. } | Change::Unlink { directory, .. } => {
                [*directory, *directory]
            }
            Change::Rename { from, to, .. } => [from.0, to.0],
        }
    }
}

fn apply(directories: &mut Directories, change: &Change) {
    match change {
        Change::Link { directory, name, node } => {
            directories.entry(*directory).or_default().insert(name.clone(), *node);
        }
        Change::Unlink { directory, name } => {
            directories.entry(*directory).or_default().remove(name);
        }
        Change::Rename { from, to, node } => {
            let names = directories.entry(from.0).or_default();
            if names.get(&from.1) == Some(node) {
                names.remove(&from.1);
            }
            directories.entry(to.0).or_default().insert(to.1.clone(), *node);
        }
    }
}
