"""Commands on the database as a whole: migrate, back up, restore, move."""
