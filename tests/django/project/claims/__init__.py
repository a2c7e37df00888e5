"""An application whose table is captured and guarded from its migrations on."""
