"""What `edge_seg.train` is made of: samples, loss, teacher, first weights and the task that Lightning runs."""
