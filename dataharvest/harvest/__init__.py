"""`dataharvest harvest`: the main job in one line, from a folder of files to the messages that they lead to."""
