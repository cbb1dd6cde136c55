"""A model of asymmetric movement: few features by region that compare the halves of one face, and logistic weights."""
