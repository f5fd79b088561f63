"""What is kept on disk is read by its owner only, whatever the process's mask is, and whatever was there before."""

import os

import pytest

from gatewayz.core.secrets import Secret
from gatewayz.store.secret import load_peppers
from gatewayz.store.sql.database import Database, Location
from gatewayz.store.sql.migrate import ensure_migrated


@pytest.mark.parametrize("before", [None, 0o644, 0o666, 0o640])
async def test_no_file_of_an_installation_is_for_others(tmp_path, before):
    mask = os.umask(0)
    try:
        location = Location("sqlite", path=str(tmp_path / "data" / "gatewayz.db"))
        if before is not None:
            (tmp_path / "data").mkdir()
            for name in ("gatewayz.db", "gatewayz.migrating"):
                (tmp_path / "data" / name).touch(before)
        load_peppers(tmp_path / "data", Secret(""))
        await ensure_migrated(location)
        database = Database(location)
        async with database.begin() as connection:
            await connection.exec_driver_sql("CREATE TABLE more (id TEXT)")
            files = [path for path in (tmp_path / "data").iterdir() if path.is_file()]
        assert len(files) >= 3
        assert {path.name: path.stat().st_mode & 0o077 for path in files} == {
            path.name: 0 for path in files
        }
        await database.close()
    finally:
        os.umask(mask)
