"""Commands of the command line beside `train`, one file each: how their options are read, and what they do."""
