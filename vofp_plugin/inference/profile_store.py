"""Profile store: the profiles of any number of speakers in one SQLite file, for many processes."""

import sqlite3
from contextlib import contextmanager
from pathlib import Path

from vofp_plugin.inference.profile import load_profile, profile_of_bytes
from vofp_plugin.utils.files import reason_of, whole_file

APPLICATION = 0x764F4650  # "vOFP": tells a store from other databases
TABLE = "CREATE TABLE profiles (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID"


class ProfileStore:
    """Keeps the profiles of speakers by name; threads and processes may share one file.

    Every call sees and leaves whole profiles. What is deleted is gone from the disk, too.

    Arguments
    ---------
    path : str or Path
        The SQLite file, on a local disk; made where there is none.
    timeout : float
        How long to wait for others who use the file, in s.

    Raises
    ------
    OSError
        If the file cannot be used, or others use it for longer than `timeout`.
    ValueError
        If it is damaged, or no profile store.

    Example
    -------
    >>> from vofp_plugin.inference.profile import Profile
    >>> from vofp_plugin.lobes.enrollment import Summary
    >>> import torch
    >>> profile = Profile("0" * 24, "0" * 24, Summary(torch.rand(1, 8), torch.ones(1, 1)), [], [])
    >>> store = ProfileStore(getfixture("tmp_path") / "speakers.db")
    >>> store.save("anna", profile)
    >>> store.names()
    ['anna']
    >>> store.delete("anna")
    """

    def __init__(self, path, timeout=30.0):
        self.path, self.timeout = Path(path), timeout
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._connection() as database:
            self._prepare(database)

    def names(self):
        """Names of all speakers, in alphabetical order."""
        with self._connection() as database:
            return [name for (name,) in database.execute("SELECT name FROM profiles ORDER BY name")]

    def save(self, name, profile):
        """Keeps a profile, in the place of that speaker's former one."""
        self._write(name, profile.to_bytes())

    def load(self, name, model):
        """Gives the profile of a speaker.

        Raises
        ------
        KeyError
            If there is none of that name.
        ValueError
            If it was altered, or made with another model.
        """
        return self._profile(name, self._read(name), model)

    def update(self, name, model, change):
        """Puts what `change` makes of a profile in its place, and loses no update of others.

        Arguments
        ---------
        name : str
        model : PersonalizedModel
        change : callable
            A profile to a new one, such as `lambda profile: profile.add(...)`; called again if
            another process has updated the profile meanwhile.

        Returns
        -------
        Profile
            The new one.
        """
        while True:
            old = self._read(name)
            profile = change(self._profile(name, old, model))
            with self._connection() as database:
                done = database.execute(
                    "UPDATE profiles SET data = ? WHERE name = ? AND data = ?",
                    (profile.to_bytes(), name, old),
                )
                if done.rowcount:
                    return profile

    def delete(self, name):
        """Removes a profile, and what is left of it on the disk.

        Raises
        ------
        KeyError
            If there is none of that name.
        OSError
            If others read for so long that it cannot be wiped out yet; call `wipe` later.
        """
        with self._connection() as database:
            if not database.execute("DELETE FROM profiles WHERE name = ?", (name,)).rowcount:
                raise self._unknown(name)
        self.wipe()

    def wipe(self):
        """Removes from the disk what was deleted or replaced.

        Raises
        ------
        OSError
            If others read for longer than `timeout`.
        """
        with self._connection() as database:
            (busy, _, _) = database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise OSError(
                f"Could not wipe deleted profiles out of {self.path}, since others read it; call "
                "`wipe` again."
            )

    def export(self, name, path):
        """Writes a speaker's profile to a file that `load_profile` and `include` read."""
        data = self._read(name)
        with whole_file(path) as partial:
            partial.write_bytes(data)

    def include(self, name, path, model):
        """Keeps the profile of a file; errors are those of `load_profile`."""
        self.save(name, load_profile(path, model))

    def _read(self, name):
        with self._connection() as database:
            query = "SELECT data FROM profiles WHERE name = ?"
            row = database.execute(query, (name,)).fetchone()
        if row is None:
            raise self._unknown(name)
        return row[0]

    def _write(self, name, data):
        with self._connection() as database:
            database.execute("INSERT OR REPLACE INTO profiles VALUES (?, ?)", (name, data))

    def _profile(self, name, data, model):
        return profile_of_bytes(data, model, f"the profile of {name!r} in {self.path}")

    def _unknown(self, name):
        return KeyError(f"Found no profile of {name!r} in {self.path}; enroll the speaker.")

    @contextmanager
    def _connection(self):
        """A connection for one call, since threads and forks cannot share one; it commits."""
        try:
            database = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None)
            try:
                database.execute("PRAGMA secure_delete = ON")
                yield database
            finally:
                database.close()
        except sqlite3.OperationalError as error:
            raise OSError(
                f"Cannot use the profile store {self.path} ({reason_of(error)}); is there space on "
                "the disk, may you write there, and do others keep it busy?"
            ) from error
        except sqlite3.DatabaseError as error:
            raise ValueError(
                f"Cannot read the profile store {self.path} ({reason_of(error)}). It is damaged, "
                "or no profile store: restore it, or give another path and enroll again."
            ) from error

    def _prepare(self, database):
        """Makes the table in a new file; refuses a database of something else."""
        if database.execute("PRAGMA application_id").fetchone() == (APPLICATION,):
            return
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("BEGIN IMMEDIATE")  # another process may be just as far
        if database.execute("PRAGMA application_id").fetchone() != (APPLICATION,):
            if database.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,):
                raise sqlite3.DatabaseError("it holds other tables")
            database.execute(TABLE)
            database.execute(f"PRAGMA application_id = {APPLICATION}")
        database.execute("COMMIT")
