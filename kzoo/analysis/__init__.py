"""Studies of finished networks; nothing depends on them."""
