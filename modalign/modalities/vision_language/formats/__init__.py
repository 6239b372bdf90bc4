"""How data sets of images, questions and answers are read."""
